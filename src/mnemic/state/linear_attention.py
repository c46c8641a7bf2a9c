"""Linear attention: attention with a kernel that a state can sum (Katharopoulos et al. 2020, arXiv 2006.16236)."""

from typing import ClassVar

from pydantic import Field, model_validator
from torch import Tensor

from mnemic.modules.matrix_state import ExpandedStateConfig
from mnemic.modules.memory import Step
from mnemic.modules.mixer import MixerConfig
from mnemic.modules.normalised_state import NormalisedStateMixer
from mnemic.ops.feature_maps import FEATURE_MAPS, POSITIVE, FeatureMap

__all__ = ["LinearAttention", "LinearAttentionConfig"]


class LinearAttentionConfig(ExpandedStateConfig):
    feature_map: FeatureMap = Field("elu", description="on queries and keys: elu (elu(x) + 1), relu or identity")
    normaliser: bool | None = Field(
        None, description="divide by the sum of the weights, instead of a norm; unset: where the map is positive"
    )

    @model_validator(mode="after")
    def _map_can_be_normalised(self) -> "LinearAttentionConfig":
        if self.normaliser and self.feature_map not in POSITIVE:
            raise ValueError(
                f"normaliser divides by a sum of weights, which feature_map '{self.feature_map}' may make zero or "
                f"negative; use one of {', '.join(sorted(POSITIVE))}, or normaliser=false"
            )
        return self

    @property
    def normalises(self) -> bool:
        return self.feature_map in POSITIVE if self.normaliser is None else self.normaliser


class LinearAttention(NormalisedStateMixer):
    """S_t = S_{t-1} + phi(k_t) v_t^T,  z_t = z_{t-1} + phi(k_t),  o_t = S_t^T phi(q_t) / (z_t . phi(q_t)).

    Nothing fades. Without the normaliser the output is normed per head, as in RetNet.

    Legend: B batch, T time, H heads, K key width, V value width, J taps.
    Memory: 4 H K (V + 1) bytes, 4 H K V without the normaliser, and the convolution's last J-1 inputs per sequence.
    """

    config_class: ClassVar[type[MixerConfig]] = LinearAttentionConfig

    def __init__(self, config: LinearAttentionConfig, layer_index: int) -> None:
        super().__init__(
            config, layer_index, heads=config.resolved_heads, key_width=config.key_width,
            value_width=config.value_width, features=config.key_width, normalises=config.normalises, eps=1e-10,
        )  # fmt: skip

    def features_of(self, q: Tensor, k: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        phi = FEATURE_MAPS[self.config.feature_map]
        return phi(q) * self.key_width**-0.5, phi(k)
