"""Titans' long-term memory: a network whose weights learn from surprise (Behrouz et al. 2025, arXiv 2501.00663)."""

from typing import ClassVar, Literal

from pydantic import Field

from mnemic.modules.learning_memory import LearningMemoryConfig, LearningMemoryMixer
from mnemic.modules.mixer import MixerConfig
from mnemic.ops.neural_memory.core import Rule

__all__ = ["TitansLMM", "TitansLMMConfig"]


class TitansLMMConfig(LearningMemoryConfig):
    momentum: bool = Field(True, description="carry past surprise on")
    forgets: bool = Field(True, description="a gate lets old weights fade")
    predicts_with: Literal["undecayed", "decayed"] = Field(
        "undecayed", description="weights of the inner prediction; decayed: as Gated DeltaNet"
    )


class TitansLMM(LearningMemoryMixer):
    """S_t = eta_t S_{t-1} - theta_t grad l(W; k_t, v_t),  W_t = (1 - alpha_t) W_{t-1} + S_t,  y_t = M(q_t; W_t).

    l = |M(k) - v|^2 / 2, with the gradient at the weights that the chunk begins with. theta, alpha and eta are one
    number per head, layer of the memory and token.

    Legend and memory: :class:`mnemic.modules.learning_memory.LearningMemoryMixer`.
    """

    config_class: ClassVar[type[MixerConfig]] = TitansLMMConfig

    def __init__(self, config: TitansLMMConfig, layer_index: int) -> None:
        rule = Rule(
            config.network(),
            optimizer="momentum" if config.momentum else "gd",
            chunk_size=config.chunk_size,
            predicts_with=config.predicts_with,
            largest_error=config.largest_error,
        )
        super().__init__(config, layer_index, rule, forgets=config.forgets)
