"""Gated linear attention: each key channel fades by a gate of its own (Yang et al. 2023, arXiv 2312.06635)."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mnemic.modules.matrix_state import ExpandedStateConfig, MatrixStateMixer, without_padding
from mnemic.modules.memory import Step
from mnemic.modules.mixer import MixerConfig
from mnemic.ops.gated_linear_attention import gated_linear_attention

__all__ = ["GLA", "GLAConfig"]


class GLAConfig(ExpandedStateConfig):
    expand_k: float = Field(0.5, gt=0, description="channels of all queries over the width")
    conv_size: int = Field(0, ge=0, description="taps of the short convolution on q, k and v; 0: none, as published")
    gate_rank: int = Field(16, ge=1, description="rank of the map from a token to its gates")
    gate_temperature: float = Field(16.0, gt=0, description="divides the log of the gates, so that they start near 1")


class GLA(MatrixStateMixer):
    """S_t = diag(alpha_t) S_{t-1} + k_t v_t^T,  o_t = S_t^T q_t / sqrt(K).

    log alpha_t = logsigmoid(W_2 W_1 x_t + b) / 16, one number per head, key channel and token; outputs are normed per
    head and gated.

    Legend: B batch, T time, H heads, K key width, V value width, J taps, R rank of the gates.
    Memory: 4 H K V bytes and the convolution's last J-1 inputs, if there is one, per sequence.
    """

    config_class: ClassVar[type[MixerConfig]] = GLAConfig

    def __init__(self, config: GLAConfig, layer_index: int) -> None:
        super().__init__(
            config, layer_index, heads=config.resolved_heads, key_width=config.key_width,
            value_width=config.value_width, beside=config.gate_rank,
        )  # fmt: skip
        self.gate = nn.Linear(config.gate_rank, self.keys)

    def recur(
        self, q: Tensor, k: Tensor, v: Tensor, beside: Tensor, state: Tensor | None, step: Step
    ) -> tuple[Tensor, Tensor]:
        """beside: [B, T, R]."""
        raw = self._heads_first(self.gate(beside))
        log_decay = F.logsigmoid(raw.to(torch.promote_types(raw.dtype, torch.float32))) / self.config.gate_temperature
        k, log_decay = without_padding(k, step), without_padding(log_decay, step)
        return gated_linear_attention(
            q * self.key_width**-0.5, k, v, log_decay, state, backend=self.config.backend
        )  # fmt: skip
