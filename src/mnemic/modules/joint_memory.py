"""Several memories of one layer, carried as one."""

from copy import copy, deepcopy
from typing import Self

import torch
from torch import Tensor

from mnemic.modules.memory import LayerMemory

__all__ = ["JointMemory"]


class JointMemory(LayerMemory):
    """The memories of a layer's parts, by name; each part writes its own.

    `tensors` names them "part.tensor".
    """

    def __init__(self, **parts: LayerMemory) -> None:
        super().__init__()
        self.parts = parts

    def tensors(self) -> dict[str, Tensor]:
        return {f"{name}.{inner}": x for name, part in self.parts.items() for inner, x in part.tensors().items()}

    def reset(self) -> None:
        self.seen = 0
        for part in self.parts.values():
            part.reset()

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        for part in self.parts.values():
            part.reorder_cache(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        for part in self.parts.values():
            part.batch_repeat_interleave(repeats)

    def __copy__(self) -> Self:
        """Parts of its own that share their tensors, so that the rows of a copy can be chosen apart."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.parts = {name: copy(part) for name, part in self.parts.items()}
        return twin

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        fork = copy(self)
        fork.parts = {name: deepcopy(part, memo) for name, part in self.parts.items()}
        return fork
