"""What an eviction does to pages: which keys move where, and which pages become free.

Legend: M keys that move, P slots of a page.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Compaction", "plan"]


class Compaction(NamedTuple):
    """
    Attributes:
        moves: [M, 4] of source page, source offset, target page, target offset; targets rise, and all sources are
            read before a target is written.
        resident: slots in use afterwards.
        pages: pages that stay, the first ones.
    """

    moves: NDArray[np.int64]
    resident: int
    pages: int

    def slots(self, page_size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """[M] and [M]: sources and targets as slots of the whole cache."""
        return (
            self.moves[:, 0] * page_size + self.moves[:, 1],
            self.moves[:, 2] * page_size + self.moves[:, 3],
        )


def plan(dropped: Iterable[tuple[int, int]], resident: int, page_ids: Sequence[int], page_size: int) -> Compaction:
    """Close the gaps that dropped slots leave, in one go however many there are.

    Args:
        dropped: spans [start, end) of a request's slots, in any order; they may overlap.
        resident: slots in use.
        page_ids: the request's pages, at least as many as `resident` needs.
        page_size: P.
    """
    keep = np.ones(resident, bool)
    for start, end in dropped:
        keep[start:end] = False
    sources = np.flatnonzero(keep)
    targets = np.arange(len(sources))
    moved = sources != targets
    sources, targets = sources[moved], targets[moved]
    table = np.asarray(page_ids, np.int64)
    moves = np.stack(
        [table[sources // page_size], sources % page_size, table[targets // page_size], targets % page_size], axis=1
    )
    left = int(keep.sum())
    return Compaction(moves, left, -(-left // page_size))
