"""State tracking: the running product of group elements, which needs a state that every token changes.

Merrill et al. 2024, "The Illusion of State", arXiv 2404.08819. On groups that are not solvable, such as A5
and S5, the problem is complete for NC1.

Legend: B rows, T time.
"""

import math
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from mnemic.tasks.base import UNASKED, Examples, IntArray, TaskConfig
from mnemic.tasks.groups import composition, element_name, order
from mnemic.tasks.slices import spread
from mnemic.tasks.tokens import TokenTask

__all__ = ["StateTracking"]


def _group(name: str) -> str:
    order(name)
    return name


class StateTracking(TokenTask, frozen=True, extra="forbid"):
    """T random elements of a group; asked after each is the product of all so far, the first one leftmost.

    Args:
        group: Zn, Sn or An, or a product such as A4xZ5. S5, A5, A4xZ5 and Z60 are those of the paper.
        length: T.
        asked: after every element, or only after the last.
    """

    name: ClassVar[str] = "state-tracking"
    version: ClassVar[int] = 1
    answers_follow: ClassVar[bool] = False

    group: Annotated[str, AfterValidator(_group)] = "S5"
    length: Annotated[int, Field(ge=1, le=1 << 16)] = 16
    asked: Literal["every", "last"] = "every"

    @property
    def vocab_size(self) -> int:
        return 1 + self.order

    @property
    def order(self) -> int:
        """Elements of the group."""
        return order(self.group)

    @property
    def max_length(self) -> int:
        return self.length

    @property
    def chance(self) -> float:
        return 1 / self.order

    def information_bits(self) -> float:
        return math.log2(self.order)

    def row_bits(self) -> float:
        return self.length * math.log2(self.order)

    def draw(self, rng: Generator, rows: int) -> Examples:
        table = composition(self.group)
        elements = rng.integers(self.order, size=(rows, self.length))
        labels = np.full((rows, self.length), UNASKED)
        state: IntArray = np.zeros(rows, dtype=np.int64)
        for t in range(self.length):
            state = table[state, elements[:, t]]
            if t + 1 == self.length or self.asked == "every":
                labels[:, t] = 1 + state
        at = np.flatnonzero(labels[0] != UNASKED) if rows else np.arange(0)
        return Examples(1 + elements, labels, labels != UNASKED, {"steps": spread(labels.shape, at, at + 1)})

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        table = composition(self.group).tolist()
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows.tolist()):
            state = 0
            for t, token in enumerate(row):
                state = table[state][token - 1]
                if t + 1 == len(row) or self.asked == "every":
                    labels[r, t] = 1 + state
        return labels

    def word(self, token: int) -> str:
        return "." if token == 0 else element_name(self.group, token - 1)

    def loads(self) -> list[TaskConfig]:
        """Half, twice and four times the length."""
        lengths = (self.length // 2, 2 * self.length, 4 * self.length)
        return [self.replace(length=length) for length in lengths if 1 <= length <= 1 << 16]
