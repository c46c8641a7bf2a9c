"""Restart mode in one parallel pass: every memento stands in the stream twice.

The model writes a memento while it sees the block; then the block goes and the memento's keys are computed again
without it, at the same positions. So nothing but the memento's text carries over: the ablation of Kontonis et al. 2026
(arXiv 2604.09852, restart), and how systems that start anew from a summary work.

Legend: T tokens of a stream, E tokens of the extended one.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnemic.teaching.memento.blocks import NEVER, parse_blocks
from mnemic.teaching.memento.rules import MarkerIds

__all__ = ["Extended", "expand_for_restart"]


class Extended(NamedTuple):
    """A stream with its mementos repeated.

    Attributes:
        source: [E], the index in the plain stream that each token was copied from; its logical position.
        is_copy: [E] of bool, the recomputed memento tokens: nothing is predicted after them.
        visible_until: [E], in indices of the extended stream.
    """

    source: NDArray[np.int64]
    is_copy: NDArray[np.bool_]
    visible_until: NDArray[np.int64]


def expand_for_restart(
    ids: ArrayLike, markers: MarkerIds, roles: ArrayLike | None = None, *, mask_delimiters: bool = False
) -> Extended:
    """Repeat the tokens of each memento, its start marker included, just before its end marker.

    Blocks and the first copies are hidden from the second copies on. The plain stream's labels carry
    over to its own tokens (the last of a memento predicts the end marker while it still sees the block), and copies
    have none.

    Args:
        ids: [T].
        roles: [T] of `Role`; None where the model wrote everything.
        mask_delimiters: hide the markers around a block too.
    """
    time = len(np.asarray(ids))
    blocks = sorted(parse_blocks(ids, markers, roles), key=lambda block: block.summary_end)
    source, is_copy = [], []
    first_copy: list[int] = []  # in the extended stream
    read = length = 0
    for block in blocks:
        kept, again = np.arange(read, block.summary_end), np.arange(block.summary_start, block.summary_end)
        first_copy.append(length + len(kept))
        source += [kept, again]
        is_copy += [np.zeros(len(kept), bool), np.ones(len(again), bool)]
        length += len(kept) + len(again)
        read = block.summary_end
    source.append(np.arange(read, time))
    is_copy.append(np.zeros(time - read, bool))
    whole = np.concatenate(source)
    until = np.full(len(whole), NEVER, np.int64)
    for block, copy in zip(blocks, first_copy, strict=True):
        before = whole[:copy]  # by position, so that the copies of a memento inside the block are hidden with it
        first, last = (block.start, block.end) if mask_delimiters else (block.start + 1, block.end - 1)
        hidden = (first <= before) & (before <= last)
        hidden |= (block.summary_start <= before) & (before < block.summary_end)
        until[:copy][hidden] = np.minimum(until[:copy][hidden], copy)
    return Extended(whole, np.concatenate(is_copy), until)
