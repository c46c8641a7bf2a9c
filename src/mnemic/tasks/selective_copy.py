"""Selective copying: the tokens that count stand at random places among what does not count, and are all asked for.

Gu & Dao 2023 (arXiv 2312.00752); the form of Poli et al. 2024 (MAD, arXiv 2403.17844).

Legend: B rows, M data tokens, P places they may stand at.
"""

import math
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, Examples, IntArray, TaskConfig
from mnemic.tasks.sampling import distinct
from mnemic.tasks.slices import asking
from mnemic.tasks.tokens import TokenTask

__all__ = ["SelectiveCopy"]

NOISE, BLANK, DATA = 0, 1, 2


class SelectiveCopy(TokenTask, frozen=True, extra="forbid"):
    """M data tokens among noise, then blanks at which they are asked for in their order.

    Forms:
        mamba: T positions with the data tokens anywhere among them, then M blanks.
        mad: T tokens in all: data tokens with noise in every gap, a marker, M blanks.
        mad_exact: as mad, but as its authors' generator does it no noise stands behind the last data token.

    Args:
        form: how the row is laid out, see above.
        length: T.
        ids: different tokens; the noise and the blank (which is also mad's marker) are two of them.
        data: M.
    """

    name: ClassVar[str] = "selective-copy"
    version: ClassVar[int] = 1

    form: Literal["mamba", "mad", "mad_exact"] = "mamba"
    length: Annotated[int, Field(ge=2, le=1 << 20)] = 4096
    ids: Annotated[int, Field(ge=4)] = 16
    data: Annotated[int, Field(ge=1)] = 16

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.data > self._places:
            need = self.data if self.form == "mamba" else 2 * self.data + 1
            raise UsageError(f"data={self.data} need length={need} or more in form={self.form}, got {self.length}")
        return self

    @property
    def vocab_size(self) -> int:
        return self.ids

    @property
    def max_length(self) -> int:
        return self.length + (self.data if self.form == "mamba" else 0)

    @property
    def told(self) -> int:
        return self._places

    @property
    def chance(self) -> float:
        return 1 / (self.ids - DATA)

    def information_bits(self) -> float:
        return self.data * math.log2(self.ids - DATA)

    def row_bits(self) -> float:
        return self.information_bits()

    def draw(self, rng: Generator, rows: int) -> Examples:
        data = rng.integers(DATA, self.ids, size=(rows, self.data))
        if self.form == "mad_exact":
            free = distinct(rng, rows, self.data - 1, self._places - 1)
            at = np.concatenate([np.sort(free, axis=1), np.full((rows, 1), self._places - 1)], axis=1)
        else:
            at = np.sort(distinct(rng, rows, self.data, self._places), axis=1)
        input_ids = np.full((rows, self.max_length), NOISE)
        np.put_along_axis(input_ids, at, data, 1)
        input_ids[:, self._places :] = BLANK
        asked = self.max_length - self.data + np.arange(self.data)
        age_rank = self.data - 1 - np.arange(self.data)
        return asking(input_ids, asked, data, distance=asked - at, load=self.data, age_rank=age_rank)

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows.tolist()):
            held = [token for token in row[: self._places] if token >= DATA]
            for place, token in enumerate(held):
                labels[r, self.max_length - self.data + place] = token
        return labels

    def word(self, token: int) -> str:
        return {NOISE: ".", BLANK: "_"}.get(token, f"d{token - DATA}")

    def loads(self) -> list[TaskConfig]:
        """Data tokens in powers of two as far as they fit, then twice and four times the length."""
        changes = [{"data": 2**n} for n in range(1, self.data.bit_length() + 2) if 2**n != self.data]
        changes += [{"length": factor * self.length} for factor in (2, 4)]
        return self.those_that_fit(changes)

    @property
    def _places(self) -> int:
        return self.length if self.form == "mamba" else self.length - self.data - 1
