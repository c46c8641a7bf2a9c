"""Retention: linear attention that fades at a fixed pace per head (RetNet; Sun et al. 2023, arXiv 2307.08621)."""

import math
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from mnemic.modules.matrix_state import (
    MatrixStateConfig,
    MatrixStateMixer,
    default_heads,
    whole_channels,
    without_padding,
)
from mnemic.modules.memory import Step
from mnemic.modules.mixer import MixerConfig
from mnemic.modules.rotary import apply_rotary, rotary_frequencies
from mnemic.ops.decayed_linear_attention import decayed_linear_attention

__all__ = ["Retention", "RetentionConfig"]


class RetentionConfig(MatrixStateConfig):
    heads: int | None = Field(
        None, ge=1, description="heads, each with a pace of its own; None: 4, or as many as have 32 key channels each"
    )
    expand_v: float = Field(2.0, gt=0, description="channels of all values over the width")
    conv_size: int = Field(0, ge=0, description="taps of the short convolution on q, k and v; 0: none, as published")
    rope: bool = Field(True, description="rotary positions")
    rope_theta: float = Field(10000.0, gt=0, description="base of the rotary frequencies")

    @model_validator(mode="after")
    def _sizes_fit(self) -> "RetentionConfig":
        key = whole_channels("queries", 1.0, self.width, self.resolved_heads)
        if self.rope and key % 2:
            raise ValueError(
                f"rope turns pairs of channels, but heads={self.resolved_heads} gives each {key}; set rope=false"
            )
        whole_channels("expand_v", self.expand_v, self.width, self.resolved_heads)
        return self

    @property
    def resolved_heads(self) -> int:
        return self.heads or default_heads(self.width)


class Retention(MatrixStateMixer):
    """S_t = gamma_h S_{t-1} + k_t v_t^T,  o_t = S_t^T q_t / sqrt(K),  gamma_h = 1 - 2^(-5-h).

    Queries and keys are rotated by their positions; outputs are normed per head and gated.

    Legend: B batch, T time, H heads, K key width, V value width, J taps.
    Memory: 4 H K V bytes and the convolution's last J-1 inputs, if there is one, per sequence.
    """

    config_class: ClassVar[type[MixerConfig]] = RetentionConfig

    def __init__(self, config: RetentionConfig, layer_index: int) -> None:
        key, value = config.width // config.resolved_heads, int(config.expand_v * config.width / config.resolved_heads)
        super().__init__(config, layer_index, heads=config.resolved_heads, key_width=key, value_width=value)

    def recur(
        self, q: Tensor, k: Tensor, v: Tensor, beside: Tensor, state: Tensor | None, step: Step
    ) -> tuple[Tensor, Tensor]:
        if self.config.rope:
            frequencies = rotary_frequencies(self.key_width, self.config.rope_theta, None, q.device)
            positions = step.query_positions(beside)
            q, k = (apply_rotary(x, positions, frequencies) for x in (q, k))
        decay = self.log_decay(q.device).view(1, -1, 1).expand(q.shape[:3])
        return decayed_linear_attention(
            q * self.key_width**-0.5, without_padding(k, step), v, without_padding(decay, step), state,
            self.config.chunk_size or 64, backend=self.config.backend,
        )  # fmt: skip

    def log_decay(self, device: torch.device) -> Tensor:
        """[H] float64: log gamma; computed, for a buffer would not survive loading on the meta device."""
        paces = [math.log1p(-(2.0 ** (-5 - head))) for head in range(self.heads)]
        return torch.tensor(paces, dtype=torch.float64, device=device)
