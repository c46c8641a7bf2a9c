"""DeltaNet: a state that erases what a key held before it writes (Schlag et al. 2021, arXiv 2102.11174).

As in Yang et al. 2024 (arXiv 2406.06484): queries and keys of length 1, a short convolution, chunks.
allow_neg_eigval follows Grazzi et al. 2024 (arXiv 2411.12537).
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from mnemic.modules.matrix_state import ExpandedStateConfig, MatrixStateMixer, without_padding
from mnemic.modules.memory import Step
from mnemic.modules.mixer import MixerConfig
from mnemic.ops.gated_delta_rule import gated_delta_rule

__all__ = ["DeltaNet", "DeltaNetConfig"]

PUBLISHED_HEAD_WIDTH = 128


class DeltaNetConfig(ExpandedStateConfig):
    heads: int | None = Field(None, ge=1, description="heads; None: the width in heads of 128, and at least 2")
    allow_neg_eigval: bool = Field(
        False, description="beta in (0, 2): a write may overshoot, which tracks state better"
    )
    output_gate: bool = Field(False, description="SiLU gate on the normed output, as in Gated DeltaNet")

    @property
    def resolved_heads(self) -> int:
        return self.heads or max(2, self.width // PUBLISHED_HEAD_WIDTH)


class DeltaNet(MatrixStateMixer):
    """S_t = (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T,  o_t = S_t^T q_t / sqrt(K).

    beta_t = sigmoid(b_t), one number per head and token, times 2 with `allow_neg_eigval`. Nothing fades but what is
    written over: with beta 1 a key forgets its old value, with 2 it is told the opposite, and the eigenvalue along the
    key is 1 - beta. Outputs are normed per head.

    Legend: B batch, T time, H heads, K key width, V value width, J taps.
    Memory: 4 H K V bytes and the convolution's last J-1 inputs per sequence.
    """

    config_class: ClassVar[type[MixerConfig]] = DeltaNetConfig
    activates: ClassVar[bool] = True

    def __init__(self, config: DeltaNetConfig, layer_index: int) -> None:
        heads = config.resolved_heads
        super().__init__(
            config, layer_index, heads=heads, key_width=config.key_width, value_width=config.value_width,
            gated=config.output_gate, beside=heads,
        )  # fmt: skip

    def recur(
        self, q: Tensor, k: Tensor, v: Tensor, beside: Tensor, state: Tensor | None, step: Step
    ) -> tuple[Tensor, Tensor]:
        """beside: [B, T, H]."""
        raw = beside.to(torch.promote_types(beside.dtype, torch.float32)).transpose(1, 2)
        beta = without_padding(raw.sigmoid() * (2.0 if self.config.allow_neg_eigval else 1.0), step)
        return gated_delta_rule(
            q, k, v, beta, None, state, normalise=True, chunk_size=self.config.chunk_size, backend=self.config.backend
        )
