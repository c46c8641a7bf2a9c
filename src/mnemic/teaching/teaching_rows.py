"""Rendered rows as the training loop takes them: epochs without end to train on, and held-out ones to validate on.

Legend: R rows, G groups (packed rows, or single ones).
"""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import UsageError
from mnemic.tasks.base import Examples, Split
from mnemic.teaching.packing import best_fit, joined
from mnemic.teaching.row import RowSource

__all__ = ["TeachingRows"]

R = TypeVar("R", bound=RowSource)

_WINDOW = 256  # groups within which those of like length come together
_ALIKE = 16


class TeachingRows(Generic[R]):
    """Rows of one file, split in two by their families.

    Args:
        rows: all of them.
        name: of the file, for messages.
        validation: the share that is held out, families whole unless there is but one; at least one row is.
        pack: put whole rows together up to the longest length.
        multiple: of which the length of a batch is to be one.
    """

    chance: float | None = None

    def __init__(self, rows: R, name: str, *, validation: float = 0.02, pack: bool = False, multiple: int = 1) -> None:
        if len(rows) < 2:
            raise UsageError(f"'{name}' gives {len(rows)} row; at least 2 are needed, one to validate on")
        self.rows, self.name, self.pack, self.multiple = rows, name, pack, multiple
        self.validation = validation
        by_digest = sorted(range(len(rows)), key=lambda row: hashlib.sha256(rows.family(row).encode()).digest())
        wanted = min(len(rows) - 1, max(1, round(validation * len(rows))))
        held_out = _between_families([rows.family(row) for row in by_digest], wanted)
        self._valid = [[row] for row in sorted(by_digest[:held_out])]
        self._train = self._grouped(sorted(by_digest[held_out:]))
        self._order = lru_cache(maxsize=2)(self._shuffled)

    @property
    def epoch(self) -> int:
        """G of the training split."""
        return len(self._train)

    @property
    def held_out(self) -> int:
        """Rows to validate on."""
        return len(self._valid)

    def held_out_row(self, number: int) -> int:
        """Its place among all rows."""
        return self._valid[number][0]

    @property
    def vocab_size(self) -> int:
        return self.rows.vocab_size

    @property
    def max_length(self) -> int:
        """Of the positions that the model meets: packed rows count from 0 each."""
        return int(self.rows.lengths.max())

    def largest_row(self) -> Examples:
        """[1, T]: the longest training row, which decides whether a step fits into memory."""
        longest = max(self._train, key=lambda group: int(self.rows.lengths[group].sum()))
        return joined([[self.rows[row] for row in longest]], self.rows.pad, self.multiple)

    def sample(self, split: Split, count: int, seed: int = 0, start: int = 0) -> Examples:
        """Training rows follow each other for ever, each epoch in an order of its own; validation rows end."""
        if split == "train":
            groups = [
                self._train[self._order(seed, row // self.epoch)[row % self.epoch]] for row in _from(start, count)
            ]
        else:
            groups = self._valid[start : start + count]
        if not groups:
            return Examples(np.zeros((0, 1), np.int64), np.zeros((0, 1), np.int64), np.zeros((0, 1), bool))
        return joined([[self.rows[row] for row in group] for group in groups], self.rows.pad, self.multiple)

    def stream(
        self, split: Split, batch_size: int, seed: int = 0, worker: int = 0, workers: int = 1, start: int = 0
    ) -> Iterator[Examples]:
        row = start + worker * batch_size
        while len(batch := self.sample(split, batch_size, seed, row)):
            yield batch
            row += workers * batch_size

    def hash(self) -> str:
        options = self.rows.options.model_dump_json()
        decides = f"{self.rows.key} {options} {self.validation} {self.pack} {self.multiple}"
        return hashlib.sha256(decides.encode()).hexdigest()

    def spec(self) -> str:
        return f"{self.name} ({self.rows.label})"

    def _grouped(self, rows: list[int]) -> list[list[int]]:
        if not self.pack:
            return [[row] for row in rows]
        packed = best_fit(self.rows.lengths[rows], self.rows.limit)
        return [[rows[place] for place in group] for group in packed]

    def _shuffled(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """[G]: neighbours are of like length, so that little of a batch is padding; the rest is luck."""
        generator = np.random.default_rng((seed, epoch))
        order = generator.permutation(self.epoch)
        if self.pack:
            return order
        length = np.asarray([self.rows.lengths[group].sum() for group in self._train])
        alike: list[NDArray[np.int64]] = []
        for start in range(0, self.epoch, _WINDOW):
            window = order[start : start + _WINDOW]
            window = window[np.argsort(length[window], kind="stable")]
            alike += [window[place : place + _ALIKE] for place in range(0, len(window), _ALIKE)]
        return np.concatenate([alike[place] for place in generator.permutation(len(alike))])


def _between_families(families: list[str], wanted: int) -> int:
    """The place nearest to `wanted`, later ones first, at which no family is cut in two; `wanted` if there is none."""
    ends = [place for place in range(1, len(families)) if families[place - 1] != families[place]]
    return min(ends, key=lambda place: (abs(place - wanted), -place), default=wanted)


def _from(start: int, count: int) -> range:
    return range(start, start + count)
