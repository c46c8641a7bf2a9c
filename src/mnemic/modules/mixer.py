"""The contract of a mixer: the part of a layer that moves information along time."""

from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from mnemic.modules.memory import LayerMemory, Step

__all__ = ["Mixer", "MixerConfig"]


class MixerConfig(BaseModel):
    """Options of one mixer. The model sets `width`; everything else is the user's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(ge=1, description="size of the residual stream, set by the model")


class Mixer(nn.Module):
    """Mixes [B, T, width] along time, causally; one definition, three ways to run it.

    The whole sequence in parallel (`step.memory` is None), prefill in pieces of any size, and one token at a
    time give the same result. What is carried between calls is made by :meth:`new_memory`.

    Padding stands at either end of a call's piece, never inside it; padded positions neither write nor forget,
    and what they return is not defined.
    """

    config_class: ClassVar[type[MixerConfig]] = MixerConfig
    rescales_out: ClassVar[bool] = False  # init "normal" divides the weights of `out` by sqrt(number of layers)

    def __init__(self, config: Any, layer_index: int) -> None:
        super().__init__()
        self.config = config
        self.layer_index = layer_index

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """x: [B, T, width] -> [B, T, width]."""
        raise TypeError(f"{type(self).__name__} defines no forward")

    def new_memory(self, batch_size: int, *, device: torch.device, dtype: torch.dtype) -> LayerMemory:
        """An empty memory for `batch_size` sequences; `dtype` is that of the activations."""
        raise TypeError(f"{type(self).__name__} defines no new_memory")

    def memory_bytes(self, length: int, dtype: torch.dtype = torch.float32) -> int:
        """Bytes that the memory of one sequence holds after `length` tokens: what `memory.nbytes` would say."""
        raise TypeError(f"{type(self).__name__} defines no memory_bytes")

    def init_own_parameters(self) -> None:
        """Fill the parameters that are no linear layer, convolution, embedding or norm; the model calls it."""


def real_tokens(step: Step, time: int) -> Tensor | None:
    """[B, T] of bool, False on padding, for the tokens of this call; None where nothing is padded."""
    return None if step.padding_mask is None else step.padding_mask[:, -time:]
