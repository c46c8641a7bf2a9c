"""Miras: a memory by four choices, and three models that choose (Behrouz et al. 2025, arXiv 2504.13173).

What the memory is, the loss that it learns by, what becomes of old weights, and the optimiser. Moneta, Yaad and Memora
are presets of the second and third.
"""

from typing import ClassVar, Literal

from pydantic import Field, model_validator
from transformers import initialization as init

from mnemic.modules.learning_memory import LearningMemoryConfig, LearningMemoryMixer
from mnemic.modules.mixer import MixerConfig
from mnemic.ops.neural_memory.biases import BIASES, AttentionalBias, Huber, Lp, RobustShift
from mnemic.ops.neural_memory.core import Rule, check_rule
from mnemic.ops.neural_memory.retentions import KL, ElasticNet, Identity, LqMirror, LqPaper, Retention

__all__ = ["Memora", "MemoraConfig", "Miras", "MirasConfig", "Moneta", "MonetaConfig", "Yaad", "YaadConfig"]

Bias = Literal["dot", "l2", "l1", "lp", "huber", "huber-coordinate", "huber-switch", "robust"]
Gate = Literal["none", "l2", "lq", "lq-paper", "kl", "elastic-net"]


class MirasConfig(LearningMemoryConfig):
    bias: Bias = Field("l2", description="the loss that the memory learns by")
    retention: Gate = Field("l2", description="what becomes of old weights; none: they stay")
    optimizer: Literal["gd", "momentum", "muon"] = Field("gd", description="the inner optimiser")
    power: float = Field(3.0, gt=1, description="p of the bias lp")
    retained_power: float = Field(4.0, ge=2, description="q of the retention lq")
    delta: float = Field(1.0, gt=0, description="threshold of huber and robust at the start of training")
    threshold: float = Field(1e-3, ge=0, description="weights below it are 0, for elastic-net")

    @model_validator(mode="after")
    def _choices_go_together(self) -> "MirasConfig":
        check_rule(self.rule())
        return self

    @property
    def unit_features(self) -> bool:
        # lq-paper divides by the weights' norm, and the weights of kl are never 0
        return super().unit_features and self.retention not in ("kl", "lq-paper")

    def rule(self) -> Rule:
        return Rule(
            self.network(),
            self._bias(),
            self._retention(),
            self.optimizer,
            self.chunk_size,
            largest_error=self.largest_error,
        )

    def _bias(self) -> AttentionalBias:
        match self.bias:
            case "lp":
                return Lp(self.power)
            case "robust":
                return RobustShift(self.delta)
            case "huber":
                return Huber("norm", self.delta)
            case "huber-coordinate" | "huber-switch":
                return Huber(self.bias.removeprefix("huber-"), self.delta)
            case other:
                return BIASES[other]

    def _retention(self) -> Retention:
        match self.retention:
            case "lq":
                return LqMirror(self.retained_power)
            case "lq-paper":
                return LqPaper(self.retained_power)
            case "kl":
                return KL()
            case "elastic-net":
                return ElasticNet(self.threshold)
            case _:
                return Identity()


class Miras(LearningMemoryMixer):
    """W_t = map(keep_t A_{t-1} - rate_t grad l(W; k_t, v_t)),  y_t = M(q_t; W_t); l and the map are chosen.

    Gradients are taken at the weights that the chunk begins with. Where the map is not linear (lq, kl, elastic-net, and
    the optimiser muon) tokens read the weights of their chunk's start.

    Legend and memory: :class:`mnemic.modules.learning_memory.LearningMemoryMixer`.
    """

    config_class: ClassVar[type[MixerConfig]] = MirasConfig

    def __init__(self, config: MirasConfig, layer_index: int) -> None:
        super().__init__(config, layer_index, config.rule(), forgets=config.retention != "none")

    def init_own_parameters(self) -> None:
        super().init_own_parameters()
        if self.config.retention == "kl":
            for weight in self.memory:
                init.normal_(weight)


class MonetaConfig(MirasConfig):
    bias: Bias = Field("lp", description="the loss that the memory learns by")
    retention: Gate = Field("lq", description="what becomes of old weights; lq-paper: the map as printed")
    memory_init: Literal["unit", "normal"] = Field(
        "normal", description="first weights: N(0, 1/inputs), or unit features and an output of 0"
    )
    largest_error: float | None = Field(
        1.0, gt=0, description="cut an inner gradient's errors to this length; a cubic loss diverges without"
    )


class Moneta(Miras):
    """The loss |M(k) - v|_p^p with p = 3, and weights of a bounded q-norm, q = 4."""

    config_class: ClassVar[type[MixerConfig]] = MonetaConfig


class YaadConfig(MirasConfig):
    bias: Bias = Field("huber", description="the loss that the memory learns by; huber-switch: as printed")


class Yaad(Miras):
    """A Huber loss whose threshold every token sets: what is far out pulls no harder than that."""

    config_class: ClassVar[type[MixerConfig]] = YaadConfig


class MemoraConfig(MirasConfig):
    retention: Gate = Field("kl", description="what becomes of old weights")
    memory_init: Literal["unit", "normal"] = Field("normal", description="first weights' logarithms: N(0, 1)")


class Memora(Miras):
    """Weights on a scaled simplex, moved by exponentiated gradients: W_t = c softmax(keep_t log W - rate_t grad l)."""

    config_class: ClassVar[type[MixerConfig]] = MemoraConfig
