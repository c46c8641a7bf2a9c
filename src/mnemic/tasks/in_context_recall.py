"""In-context recall and noisy recall, two of the skills of MAD (Poli et al. 2024, arXiv 2403.17844).

Legend: B rows, N tokens.
"""

import math
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field

from mnemic.tasks.base import UNASKED, Examples, IntArray, TaskConfig
from mnemic.tasks.mqar_stream import StreamRows
from mnemic.tasks.tokens import TokenTask

__all__ = ["InContextRecall", "NoisyRecall"]


class InContextRecall(TokenTask, frozen=True, extra="forbid"):
    """A stream of pairs k v k v … in which keys return and keep their value; the last pair asks for a key that was
    seen.

    Args:
        length: N.
        vocab: ids C; keys take the lower half, values the upper.
        multi_query: ask whenever a key returns, not only at the end (there a marker then stands before the key).
    """

    name: ClassVar[str] = "in-context-recall"
    version: ClassVar[int] = 1

    length: Annotated[int, Field(ge=4, le=1 << 18, multiple_of=2)] = 128
    vocab: Annotated[int, Field(ge=4)] = 16
    multi_query: bool = True

    @property
    def vocab_size(self) -> int:
        return self._noise_from + (0 if self.multi_query else 1)

    @property
    def max_length(self) -> int:
        return self.length

    @property
    def chance(self) -> float:
        return 1 / self._stream.values

    def information_bits(self) -> float:
        return self._stream.facts * math.log2(self._stream.values)

    def row_bits(self) -> float:
        return self._stream.bits()

    def draw(self, rng: Generator, rows: int) -> Examples:
        found = self._stream.draw(rng, rows)
        if self.multi_query:
            return found
        input_ids, labels = found.input_ids.copy(), np.full_like(found.labels, UNASKED)
        input_ids[:, -2:] = np.stack([np.full(rows, self._marker), found.input_ids[:, -2]], axis=1)
        labels[:, -1] = found.labels[:, -2]
        slices = {name: np.zeros_like(values) for name, values in found.slices.items()}
        for name, values in found.slices.items():
            slices[name][:, -1] = values[:, -2] + (name == "distance")
        return Examples(input_ids, labels, labels != UNASKED, slices)

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        if self.multi_query:
            return self._stream.oracle(rows)
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows.tolist()):
            labels[r, -1] = dict(zip(row[0:-2:2], row[1:-2:2], strict=True)).get(row[-1], UNASKED)
        return labels

    def word(self, token: int) -> str:
        return "?" if token == self._marker and not self.multi_query else self._stream.word(token)

    def loads(self) -> list[TaskConfig]:
        """Half, twice and four times the length."""
        lengths = (self.length // 4 * 2, 2 * self.length, 4 * self.length)
        return [self.replace(length=length) for length in lengths if 4 <= length <= 1 << 18]

    @property
    def _stream(self) -> StreamRows:
        return StreamRows(self.length, self.vocab)

    @property
    def _noise_from(self) -> int:
        return 1 + self.vocab

    @property
    def _marker(self) -> int:
        return self.vocab_size - 1


class NoisyRecall(InContextRecall, frozen=True, extra="forbid"):
    """In-context recall with noise between the pairs, made of tokens of its own.

    Args:
        noise: chance that a place for a pair holds two noise tokens instead.
        noise_ids: different noise tokens.
    """

    name: ClassVar[str] = "noisy-recall"

    vocab: Annotated[int, Field(ge=4)] = 32
    noise: Annotated[float, Field(ge=0, le=0.95)] = 0.2
    noise_ids: Annotated[int, Field(ge=1)] = 16

    @property
    def vocab_size(self) -> int:
        return super().vocab_size + self.noise_ids

    def row_bits(self) -> float:
        """Of the last key's value and of what stands elsewhere, whichever it is."""
        places = self.length // 2 - 2
        kinds = (1 - self.noise) * math.log2(self._stream.keys) + 2 * self.noise * math.log2(self.noise_ids)
        return places * kinds

    def loads(self) -> list[TaskConfig]:
        """More noise, then other lengths."""
        return [self.replace(noise=n) for n in (0.2, 0.4, 0.6, 0.8) if n != self.noise] + super().loads()

    @property
    def _stream(self) -> StreamRows:
        return StreamRows(self.length, self.vocab, self.noise, self.noise_ids)
