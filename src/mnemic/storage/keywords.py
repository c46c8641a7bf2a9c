"""Which passages hold the words of a question, and BM25 over them or over groups of them.

N passages, G groups of them, T terms of the question, M pairs of a passage and a term that it holds.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mnemic.storage.rows import segments
from mnemic.storage.terms import query_terms, terms

__all__ = ["Groups", "KeywordIndex", "Keywords", "Matches", "bm25"]

_K1, _B = 1.2, 0.75  # as SQLite's full text index has them
_LEAST_IDF = (
    1e-6  # a term of more than half of the passages still tells them apart a little, and never counts against one
)


@dataclass(frozen=True, eq=False)
class Matches:
    """Where the terms of one question stand.

    Attributes:
        passages: `[M]` int64, index of the passage.
        terms: `[M]` int64, 0 … T-1.
        counts: `[M]` float64, how often.
        count: T.
    """

    passages: NDArray[np.int64]
    terms: NDArray[np.int64]
    counts: NDArray[np.float64]
    count: int


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of passages, which may overlap and need not hold every passage.

    Attributes:
        starts: `[N + 1]` int64, where the groups of each passage begin in `members`.
        members: int64, 0 … G-1.
        count: G.
    """

    starts: NDArray[np.int64]
    members: NDArray[np.int64]
    count: int

    @classmethod
    def of(cls, table: NDArray[np.int64], count: int) -> "Groups":
        """From a table `[N, n]` of the groups that each passage is in, -1 where there is none."""
        there = table >= 0
        return cls(np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int64), table[there], count)

    def summed(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """`[G]`: of each group the sum of its passages' values `[N]`."""
        each = np.repeat(values, np.diff(self.starts))
        return np.bincount(self.members, each, minlength=self.count).astype(np.float64)


class Keywords(Protocol):
    """A keyword index over the passages of a view: a database's, or one in memory.

    Attributes:
        lengths: `[N]` float64, words per passage.
    """

    @property
    def lengths(self) -> NDArray[np.float64]: ...

    def matches(self, query: str) -> Matches:
        """Where the terms of `query_terms(query)` stand; text in it is never an operator."""
        ...


class KeywordIndex:
    """In memory, for corpora that are in no database."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Args:
        texts: what is searched of each passage (`Passage.indexed`).
        """
        places: dict[str, list[int]] = {}
        counts: dict[str, list[int]] = {}
        lengths = []
        for index, text in enumerate(texts):
            found = terms(text)
            lengths.append(len(found))
            for term, count in Counter(found).items():
                places.setdefault(term, []).append(index)
                counts.setdefault(term, []).append(count)
        self._postings = {
            term: (np.array(places[term], np.int64), np.array(counts[term], np.float64)) for term in places
        }
        self.lengths: NDArray[np.float64] = np.array(lengths, np.float64)

    def matches(self, query: str) -> Matches:
        asked = query_terms(query)
        found = [(number, *self._postings[term]) for number, term in enumerate(asked) if term in self._postings]
        if not found:
            return Matches(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), len(asked))
        return Matches(
            np.concatenate([places for _, places, _ in found]),
            np.concatenate([np.full(len(places), number, np.int64) for number, places, _ in found]),
            np.concatenate([counts for _, _, counts in found]),
            len(asked),
        )


def bm25(matches: Matches, lengths: NDArray[np.float64], groups: Groups | None = None) -> NDArray[np.float64]:
    """BM25 of every passage, or of every group of passages as if it were one text.

    Args:
        lengths: `[N]`, words per passage.

    Returns:
        `[N]` or `[G]`, 0 where no term stands.
    """
    length = lengths if groups is None else groups.summed(lengths)
    count = len(length)
    total = np.zeros(count)
    if count == 0:
        return total
    saturation = _K1 * (1 - _B + _B * length / max(float(length.mean()), 1e-9))
    order = np.argsort(matches.terms, kind="stable")
    bounds = np.searchsorted(matches.terms[order], np.arange(matches.count + 1))
    for begin, end in pairwise(bounds):  # a term at a time: its numbers stay in the processor's cache
        there = order[begin:end]
        places, counts = matches.passages[there], matches.counts[there]
        if groups is not None:
            entries, owner = segments(groups.starts, places)
            places, counts = _added_up(groups.members[entries], counts[owner], count)
        idf = max(np.log((count - len(places) + 0.5) / (len(places) + 0.5)), _LEAST_IDF)
        total[places] += idf * (counts * (_K1 + 1) / np.maximum(counts + saturation[places], 1e-9))
    return total


def _added_up(
    places: NDArray[np.int64], values: NDArray[np.float64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each place once, and the sum of its values, which are positive; places are below `count`."""
    if 8 * len(places) < count:
        once, which = np.unique(places, return_inverse=True)
        return once.astype(np.int64), np.bincount(which, values, minlength=len(once)).astype(np.float64)
    summed = np.bincount(places, values, minlength=count).astype(np.float64)
    filled = np.flatnonzero(summed).astype(np.int64)
    return filled, summed[filled]
