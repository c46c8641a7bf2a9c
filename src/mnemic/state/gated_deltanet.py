"""Gated DeltaNet: a decaying state that erases what a key held before it writes (Yang et al. 2024, arXiv 2412.06464).

allow_neg_eigval follows Grazzi et al. 2024 (arXiv 2411.12537).
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from transformers import initialization as init

from mnemic.modules.matrix_state import MatrixStateConfig, MatrixStateMixer, whole_channels, without_padding
from mnemic.modules.memory import Step
from mnemic.modules.mixer import MixerConfig
from mnemic.ops.gated_delta_rule import gated_delta_rule
from mnemic.state.mamba2 import inverse_softplus_of_steps

__all__ = ["GatedDeltaNet", "GatedDeltaNetConfig"]

PUBLISHED_HEAD_WIDTH = 256


class GatedDeltaNetConfig(MatrixStateConfig):
    heads: int | None = Field(None, ge=1, description="heads; None: 3/4 width in heads of 256, and at least 2")
    head_width: int | None = Field(
        None, ge=1, description="channels of a query or key, K; None: 3/4 width over the heads, up to a multiple of 8"
    )
    expand_v: float = Field(2.0, gt=0, description="channels of a value over those of a key")
    allow_neg_eigval: bool = Field(
        False, description="beta in (0, 2): a write may overshoot, which tracks state better"
    )
    dt_min: float = Field(1e-3, gt=0, description="smallest step of the decay at the start of training")
    dt_max: float = Field(1e-1, gt=0, description="largest step of the decay at the start of training")

    @model_validator(mode="after")
    def _values_are_whole(self) -> "GatedDeltaNetConfig":
        whole_channels("expand_v", self.expand_v, self.key_width)
        return self

    @property
    def resolved_heads(self) -> int:
        return self.heads or max(2, round(0.75 * self.width / PUBLISHED_HEAD_WIDTH))

    @property
    def key_width(self) -> int:
        return self.head_width or -(-int(0.75 * self.width) // (8 * self.resolved_heads)) * 8

    @property
    def value_width(self) -> int:
        return int(self.expand_v * self.key_width)


class GatedDeltaNet(MatrixStateMixer):
    """S_t = alpha_t (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T,  o_t = S_t^T q_t / sqrt(K)  (eq. 10).

    alpha_t = exp(-exp(A_log) softplus(a_t + dt_bias)) and beta_t = sigmoid(b_t) are one number per head and token;
    queries and keys have length 1; outputs are normed per head and gated.

    Legend: B batch, T time, H heads, K key width, V value width, J taps, C = H (2 K + V) convolved channels.
    Memory: 4 H K V bytes and the convolution's last J-1 inputs per sequence.
    """

    config_class: ClassVar[type[MixerConfig]] = GatedDeltaNetConfig
    activates: ClassVar[bool] = True

    def __init__(self, config: GatedDeltaNetConfig, layer_index: int) -> None:
        heads = config.resolved_heads
        super().__init__(
            config,
            layer_index,
            heads=heads,
            key_width=config.key_width,
            value_width=config.value_width,
            beside=2 * heads,
        )
        self.A_log, self.dt_bias = (nn.Parameter(torch.empty(heads)) for _ in range(2))
        self.init_own_parameters()

    @torch.no_grad()
    def init_own_parameters(self) -> None:
        # uniform from 0, as published; a draw of exactly 0 would leave a log of -inf that no gradient moves
        rates = torch.empty_like(self.A_log).uniform_(0, 16).clamp(min=torch.finfo(torch.float32).tiny)
        init.copy_(self.A_log, rates.log())
        init.copy_(self.dt_bias, inverse_softplus_of_steps(self.dt_bias, self.config.dt_min, self.config.dt_max))

    def recur(
        self, q: Tensor, k: Tensor, v: Tensor, beside: Tensor, state: Tensor | None, step: Step
    ) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(beside.dtype, torch.float32)
        b, a = beside.to(wide).chunk(2, dim=-1)
        beta = b.sigmoid() * (2.0 if self.config.allow_neg_eigval else 1.0)
        log_decay = -self.A_log.to(wide).exp() * F.softplus(a + self.dt_bias)
        beta, log_decay = (without_padding(z.transpose(1, 2), step) for z in (beta, log_decay))
        return gated_delta_rule(
            q, k, v, beta, log_decay, state, normalise=True, chunk_size=self.config.chunk_size,
            backend=self.config.backend,
        )  # fmt: skip
