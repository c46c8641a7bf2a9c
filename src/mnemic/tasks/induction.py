"""Induction: what came after this, the last time? (Olsson et al. 2022; the marker form of Gu & Dao 2023, appendix E.1.)

Legend: B rows, T time.
"""

import math
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, Examples, IntArray, TaskConfig
from mnemic.tasks.tokens import TokenTask

__all__ = ["Induction"]

MARKER = 1


class Induction(TokenTask, frozen=True, extra="forbid"):
    """A row of random tokens that must be looked back into.

    Forms:
        marker: a marker stands once at a random place and again at the end; asked is the token that followed it.
        repeat: the second half is the first half again; all of it is asked but its first token, which nothing tells.

    Args:
        form: what must be looked back for, see above.
        length: tokens of a row; even in the repeat form.
        ids: different tokens, the marker being one of them. 0 stays free for padding.
    """

    name: ClassVar[str] = "induction"
    version: ClassVar[int] = 1

    form: Literal["marker", "repeat"] = "marker"
    length: Annotated[int, Field(ge=4, le=1 << 20)] = 256
    ids: Annotated[int, Field(ge=3)] = 16

    @model_validator(mode="after")
    def _halves(self) -> Self:
        if self.form == "repeat" and self.length % 2:
            raise UsageError(f"length={self.length} must be even in form=repeat")
        return self

    @property
    def vocab_size(self) -> int:
        return self.ids + 1

    @property
    def max_length(self) -> int:
        return self.length

    @property
    def chance(self) -> float:
        return 1 / (self.ids - 1)

    def information_bits(self) -> float:
        """One token behind the marker, or all of the first half."""
        return (1 if self.form == "marker" else self.length // 2) * math.log2(self.ids - 1)

    def row_bits(self) -> float:
        free = self.length - 2 if self.form == "marker" else self.length // 2
        return free * math.log2(self.ids - 1)

    def draw(self, rng: Generator, rows: int) -> Examples:
        return self._marked(rng, rows) if self.form == "marker" else self._repeated(rng, rows)

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows.tolist()):
            if self.form == "repeat":
                labels[r, len(row) // 2 : -1] = row[1 : len(row) // 2]
            elif MARKER in row[:-1]:
                labels[r, -1] = row[row.index(MARKER) + 1]
        return labels

    def word(self, token: int) -> str:
        return "." if token == 0 else "M" if token == MARKER else f"t{token - MARKER}"

    def loads(self) -> list[TaskConfig]:
        """Half, twice and four times the length."""
        lengths = [self.length // 4 * 2, 2 * self.length, 4 * self.length]
        return [self.replace(length=length) for length in lengths if 4 <= length <= 1 << 20]

    def _marked(self, rng: Generator, rows: int) -> Examples:
        input_ids = rng.integers(MARKER + 1, self.ids + 1, size=(rows, self.length))
        row = np.arange(rows)
        marked = rng.integers(self.length - 2, size=rows)
        input_ids[row, marked] = MARKER
        input_ids[:, -1] = MARKER
        labels = np.full_like(input_ids, UNASKED)
        labels[:, -1] = input_ids[row, marked + 1]
        slices = {name: np.zeros(input_ids.shape, dtype=np.int32) for name in ("distance", "load", "age_rank")}
        slices["distance"][:, -1] = self.length - 2 - marked
        slices["load"][:, -1] = 1
        return Examples(input_ids, labels, labels != UNASKED, slices)

    def _repeated(self, rng: Generator, rows: int) -> Examples:
        half = self.length // 2
        first = rng.integers(MARKER + 1, self.ids + 1, size=(rows, half))
        input_ids = np.concatenate([first, first], axis=1)
        labels = np.full_like(input_ids, UNASKED)
        labels[:, half:-1] = first[:, 1:]
        asked = labels != UNASKED
        columns = {
            "distance": np.full(half - 1, half - 1),
            "load": np.full(half - 1, half),
            "age_rank": np.arange(half - 2, -1, -1),
        }
        slices = {name: np.zeros(input_ids.shape, dtype=np.int32) for name in columns}
        for name, values in columns.items():
            slices[name][:, half:-1] = values
        return Examples(input_ids, labels, asked, slices)
