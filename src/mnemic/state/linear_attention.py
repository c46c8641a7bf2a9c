"""Linear attention: attention with a kernel that a state can sum (Katharopoulos et al. 2020, arXiv 2006.16236)."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator
from torch import Tensor

from mnemic.modules.matrix_state import MatrixStateConfig, default_heads, whole_channels
from mnemic.modules.memory import Step
from mnemic.modules.mixer import MixerConfig
from mnemic.modules.normalised_state import NormalisedStateMixer
from mnemic.ops.feature_maps import FEATURE_MAPS, POSITIVE

__all__ = ["LinearAttention", "LinearAttentionConfig"]


class LinearAttentionConfig(MatrixStateConfig):
    heads: int | None = Field(None, ge=1, description="heads; None: 4, or as many as have 32 key channels each")
    expand_k: float = Field(1.0, gt=0, description="channels of all queries over the width")
    expand_v: float = Field(1.0, gt=0, description="channels of all values over the width")
    feature_map: Literal["elu", "relu", "identity"] = Field(
        "elu", description="on queries and keys: elu (elu(x) + 1), relu or identity"
    )
    normaliser: bool | None = Field(
        None, description="divide by the sum of the weights, instead of a norm; unset: where the map is positive"
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> "LinearAttentionConfig":
        whole_channels("expand_k", self.expand_k, self.width, self.resolved_heads)
        whole_channels("expand_v", self.expand_v, self.width, self.resolved_heads)
        if self.normaliser and self.feature_map not in POSITIVE:
            raise ValueError(
                f"normaliser divides by a sum of weights, which feature_map '{self.feature_map}' may make zero or "
                f"negative; use one of {', '.join(sorted(POSITIVE))}, or normaliser=false"
            )
        return self

    @property
    def normalises(self) -> bool:
        return self.feature_map in POSITIVE if self.normaliser is None else self.normaliser

    @property
    def resolved_heads(self) -> int:
        return self.heads or default_heads(int(self.expand_k * self.width))


class LinearAttention(NormalisedStateMixer):
    """S_t = S_{t-1} + phi(k_t) v_t^T,  z_t = z_{t-1} + phi(k_t),  o_t = S_t^T phi(q_t) / (z_t . phi(q_t)).

    Nothing fades. Without the normaliser the output is normed per head, as in RetNet.

    Legend: B batch, T time, H heads, K key width, V value width, J taps.
    Memory: 4 H K (V + 1) bytes, 4 H K V without the normaliser, and the convolution's last J-1 inputs per sequence.
    """

    config_class: ClassVar[type[MixerConfig]] = LinearAttentionConfig

    def __init__(self, config: LinearAttentionConfig, layer_index: int) -> None:
        key, value = (
            int(factor * config.width / config.resolved_heads) for factor in (config.expand_k, config.expand_v)
        )
        super().__init__(
            config, layer_index, heads=config.resolved_heads, key_width=key, value_width=value, features=key,
            normalises=config.normalises, eps=1e-10,
        )  # fmt: skip

    def features_of(self, q: Tensor, k: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        phi = FEATURE_MAPS[self.config.feature_map]
        return phi(q) * self.key_width**-0.5, phi(k)
