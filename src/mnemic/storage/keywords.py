"""Which passages hold the words of a question, and BM25 over them or over groups of them.

N passages, T terms of the question, M pairs of a passage and a term that it holds.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mnemic.storage.terms import query_terms, terms

__all__ = ["KeywordIndex", "Keywords", "Matches", "bm25"]

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


def bm25(
    matches: Matches,
    lengths: NDArray[np.float64],
    group_of: NDArray[np.int64] | None = None,
    groups: int | None = None,
) -> NDArray[np.float64]:
    """BM25 of every passage, or of every group of passages as if it were one text.

    Args:
        lengths: `[N]`, words per passage.
        group_of: `[N]`, the group of each passage, -1 for those that are left out; None: each is its own.
        groups: how many groups there are, G.

    Returns:
        `[N]` or `[G]`, 0 where no term stands.
    """
    if group_of is None:
        group_of, groups = np.arange(len(lengths)), len(lengths)
    assert groups is not None
    if groups == 0:
        return np.zeros(0)
    kept = group_of >= 0
    length = np.bincount(group_of[kept], lengths[kept], minlength=groups)
    inside = kept[matches.passages]
    cells = matches.terms[inside] * groups + group_of[matches.passages[inside]]
    counts = np.bincount(cells, matches.counts[inside], minlength=matches.count * groups)
    table = counts.reshape(matches.count, groups)  # [T, G]
    holding = np.count_nonzero(table, axis=1)
    idf = np.maximum(np.log((groups - holding + 0.5) / (holding + 0.5)), _LEAST_IDF)
    saturation = _K1 * (1 - _B + _B * length / max(float(length.mean()), 1e-9))
    gain = table * (_K1 + 1) / np.maximum(table + saturation, 1e-9)
    return np.asarray((idf[:, None] * gain).sum(axis=0), np.float64)
