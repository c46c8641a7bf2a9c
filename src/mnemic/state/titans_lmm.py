"""Titans' long-term memory: a network whose weights learn from surprise (Behrouz et al. 2025, arXiv 2501.00663)."""

from typing import ClassVar, Literal

from pydantic import Field

from mnemic.modules.learning_memory import LearningMemoryConfig, LearningMemoryMixer
from mnemic.modules.mixer import MixerConfig
from mnemic.ops.neural_memory.architectures import Perceptron
from mnemic.ops.neural_memory.core import Rule

__all__ = ["TitansLMM", "TitansLMMConfig"]


class TitansLMMConfig(LearningMemoryConfig):
    momentum: bool = Field(True, description="carry past surprise on")
    forgets: bool = Field(True, description="a gate lets old weights fade")
    rate: float | None = Field(
        None, gt=0, lt=1, description="inner learning rate at the start of training; None: 2 / chunk_size, at most 0.5"
    )
    fade: float = Field(0.88, gt=0, lt=1, description="share of past surprise that a token lets go, at the start")
    forget: float = Field(0.007, gt=0, lt=1, description="share of the old weights that a token lets go, at the start")
    residual: bool = Field(True, description="the memory adds its input to its output, where it has more than 1 layer")
    memory_norm: bool = Field(False, description="LayerNorm on the memory's output, where it has more than 1 layer")
    predicts_with: Literal["undecayed", "decayed"] = Field(
        "undecayed", description="weights of the inner prediction; decayed: as Gated DeltaNet"
    )

    @property
    def resolved_rate(self) -> float:
        return self.rate or min(0.5, 2 / self.chunk_size)


class TitansLMM(LearningMemoryMixer):
    """S_t = eta_t S_{t-1} - theta_t grad l(W; k_t, v_t),  W_t = (1 - alpha_t) W_{t-1} + S_t,  y_t = M(q_t; W_t).

    l = |M(k) - v|^2 / 2, with the gradient at the weights that the chunk begins with (eq. 13 to 16). theta, alpha and
    eta are one number per head, layer of the memory and token.

    Legend and memory: :class:`mnemic.modules.learning_memory.LearningMemoryMixer`.
    """

    config_class: ClassVar[type[MixerConfig]] = TitansLMMConfig

    def __init__(self, config: TitansLMMConfig, layer_index: int) -> None:
        deep = config.depth > 1
        head = config.width // config.resolved_heads
        memory = Perceptron(
            config.depth, config.expansion, config.activation, residual=config.residual and deep,
            norm=config.memory_norm and deep,
            hidden_scale=(0.4 * round(config.expansion * head)) ** -0.5 if config.memory_init == "unit" else 1.0,
        )  # fmt: skip
        rule = Rule(
            memory, optimizer="momentum" if config.momentum else "gd", chunk_size=config.chunk_size,
            predicts_with=config.predicts_with, largest_error=config.largest_error,
        )  # fmt: skip
        gates = {"rate": (config.depth, config.resolved_rate)}
        gates |= {"forget": (config.depth, config.forget)} if config.forgets else {}
        gates |= {"fade": (config.depth, config.fade)} if config.momentum else {}
        super().__init__(config, layer_index, rule, gates)  # type: ignore[arg-type]
