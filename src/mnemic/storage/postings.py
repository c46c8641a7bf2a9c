"""Where terms stand among the passages of an image: read from the database when they are first asked for, and kept in
step with what is added from then on."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mnemic.storage.growing import Growing
from mnemic.storage.preparing import index_terms
from mnemic.storage.view import Passage

__all__ = ["Find", "Postings"]

Ints = NDArray[np.int64]
Find = Callable[[Sequence[str]], Ints]
MOST_HELD = 4_000_000  # places of terms, 8 bytes each
MOST_READ = 500  # passages that came at once; of more, what is held is read anew
MOST_COUNTED = 255  # of one term in one passage, as PostgreSQL counts


class Postings:
    """Of the passages 0 … count-1 of an image. Safe to use from threads."""

    def __init__(self, count: int = 0) -> None:
        self._lock = threading.Lock()
        self._count = count
        self._held: dict[str, Growing[np.int32]] = {}  # [places, 2]: index of the passage, how often; the latest last
        self._size = 0

    def extend(self, passages: Sequence[Passage]) -> None:
        """Passages that follow the last one."""
        with self._lock:
            first, self._count = self._count, self._count + len(passages)
            if len(passages) > MOST_READ:
                self._held, self._size = {}, 0
            if not self._held:
                return
            for index, passage in enumerate(passages, first):
                counts = Counter(index_terms(passage.indexed))
                for term in self._held.keys() & counts.keys():
                    self._held[term].extend(np.array([[index, min(counts[term], MOST_COUNTED)]], np.int32))
                    self._size += 1

    def matches(self, asked: Sequence[str], seqs: Ints, find: Find) -> Ints:
        """Where terms stand among the passages with the numbers `seqs`, the first ones of the image.

        Args:
            find: `Transaction.find_words` of the tenant.

        Returns:
            `[M, 3]`: index of the term, ascending, index of the passage, how often it stands there.
        """
        with self._lock:
            held = {term: self._held[term].rows for term in asked if term in self._held}
            for term in held:
                self._held[term] = self._held.pop(term)
        if missing := [term for term in asked if term not in held]:
            fresh = _read(missing, seqs, find)
            self._keep(fresh, len(seqs))
            held |= fresh
        parts = [np.zeros((0, 3), np.int64)]
        for number, term in enumerate(asked):
            there = held[term]
            there = there[: np.searchsorted(there[:, 0], len(seqs))]
            part = np.full((len(there), 3), number, np.int64)
            part[:, 1:] = there
            parts.append(part)
        return np.concatenate(parts)

    def _keep(self, fresh: dict[str, NDArray[np.int32]], count: int) -> None:
        with self._lock:
            if count != self._count:  # read for who sees the past
                return
            for term, there in fresh.items():
                if term not in self._held and len(there) <= MOST_HELD:
                    self._held[term] = Growing(np.int32, (2,))
                    self._held[term].extend(there)
                    self._size += len(there)
            while self._size > MOST_HELD:
                oldest = next(iter(self._held))
                self._size -= len(self._held.pop(oldest))


def _read(terms: Sequence[str], seqs: Ints, find: Find) -> dict[str, NDArray[np.int32]]:
    """Of each term `[places, 2]`; passages that have no number among `seqs` are left out."""
    found = find(terms)
    places = np.searchsorted(seqs, found[:, 1])
    known = places < len(seqs)
    known[known] = seqs[places[known]] == found[known, 1]
    table = np.stack([places[known], np.minimum(found[known, 2], MOST_COUNTED)], axis=1).astype(np.int32)
    order = np.lexsort((table[:, 0], found[known, 0]))
    bounds = np.searchsorted(found[known, 0][order], np.arange(len(terms) + 1))
    return {term: table[order[bounds[i] : bounds[i + 1]]] for i, term in enumerate(terms)}
