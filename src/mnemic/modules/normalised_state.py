"""Linear attention over features of queries and keys, divided by the sum of its weights."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mnemic.modules.matrix_state import MatrixStateMixer, without_padding
from mnemic.modules.memory import Step
from mnemic.ops.decayed_linear_attention import decayed_linear_attention

__all__ = ["NormalisedStateMixer"]


class NormalisedStateMixer(MatrixStateMixer):
    """o_t = sum_{s<=t} phi(q_t) . phi(k_s) v_s / (sum_{s<=t} phi(q_t) . phi(k_s) + eps).

    The sum of the weights is carried as one more channel of the values, which is 1 for every token.

    Legend: B batch, T time, H heads, K key width, V value width, P features of a key.
    """

    def __init__(
        self, config: Any, layer_index: int, *, heads: int, key_width: int, value_width: int, features: int,
        normalises: bool, eps: float,
    ) -> None:  # fmt: skip
        super().__init__(
            config, layer_index, heads=heads, key_width=key_width, value_width=value_width, gated=False,
            normed=not normalises, state_shape=(features, value_width + normalises),
        )  # fmt: skip
        self.normalises, self.eps = normalises, eps

    def features_of(self, q: Tensor, k: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """q, k: [B, H, T, K] -> phi(q), phi(k): [B, H, T, P]."""
        raise TypeError(f"{type(self).__name__} defines no features_of")

    def recur(
        self, q: Tensor, k: Tensor, v: Tensor, beside: Tensor, state: Tensor | None, step: Step
    ) -> tuple[Tensor, Tensor]:
        q, k = self.features_of(q, k, step)
        k = without_padding(k, step)
        if self.normalises:  # in float32 at least: the sum of the weights grows with T
            v = F.pad(v.to(torch.promote_types(v.dtype, torch.float32)), (0, 1), value=1.0)
        chunk_size = self.config.chunk_size or 64
        o, state = decayed_linear_attention(q, k, v, None, state, chunk_size, backend=self.config.backend)
        if self.normalises:
            o = o[..., :-1] / (o[..., -1:] + self.eps)
        return o, state
