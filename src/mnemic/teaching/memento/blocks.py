"""Blocks, mementos and what they hide: one state machine, and one integer for every key that follows from it.

Query q sees key k exactly when k <= q < visible_until[k]. The dense mask, the mask of FlexAttention, that of packed
documents and the evictions of generation are all made from this vector or from the machine that makes it.

Source: Kontonis et al. 2026 (arXiv 2604.09852). A block goes before the end of its memento is fed, as it does in the
released serving code; the paper leaves that token's place open.

Legend: T tokens of a stream.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnemic.errors import UsageError
from mnemic.teaching.memento.rules import MarkerIds, MementoRules, Role

__all__ = ["NEVER", "Block", "BlockTracker", "Eviction", "parse_blocks", "resident_tokens", "visible_until"]

NEVER = 2**31 - 1
"""visible_until of a key that is never hidden."""


class Block(NamedTuple):
    """A block and its memento: the positions of their four markers."""

    start: int
    end: int
    summary_start: int
    summary_end: int


class Eviction(NamedTuple):
    """Positions [start, end) leave before the token just read is fed.

    Where `rewind_to` is given, in restart mode, the positions from there to that token leave too and are fed again.
    """

    start: int
    end: int
    rewind_to: int | None = None


@dataclass
class _OpenSummary:
    start: int
    end: int
    summary_start: int


class BlockTracker:
    """Reads one stream token by token and says what to evict.

    Tolerant, as served models need it: a marker out of order is counted and otherwise means nothing, except that a
    block which opens inside another nests. Protected text ends whatever is open.

    Attributes:
        blocks: the completed blocks, in the order of completion.
        malformed: markers out of order so far.
    """

    def __init__(self, markers: MarkerIds, rules: MementoRules) -> None:
        self.markers, self.rules = markers, rules
        self.blocks: list[Block] = []
        self.malformed = 0
        self._open: list[int] = []  # starts of open blocks, the innermost last
        self._closed: list[tuple[int, int]] = []  # blocks without a memento, the newest last
        self._summary: _OpenSummary | None = None
        self._pending: list[Block] = []  # summarised and still visible, the oldest first

    def push(self, token: int, position: int, role: Role = Role.ASSISTANT) -> list[Eviction]:
        """Read the token at a logical position; positions rise from call to call, and ordinary tokens may be skipped.

        Returns:
            what to evict before the token is fed, oldest block first.
        """
        if role is Role.PROTECTED:
            self._abandon()
            return []
        if role is Role.OBSERVED:
            return []
        markers = self.markers
        if token == markers.block_start:
            return self._start_block(position)
        if token == markers.block_end:
            self._end_block(position)
        elif token == markers.summary_start:
            self._start_summary(position)
        elif token == markers.summary_end:
            return self._end_summary(position)
        return []

    @property
    def open_since(self) -> int | None:
        """Where the innermost open block starts, None outside blocks."""
        return self._open[-1] if self._open else None

    @property
    def in_summary(self) -> bool:
        return self._summary is not None

    @property
    def expects_summary(self) -> bool:
        """Whether a block has ended whose memento has not begun."""
        return bool(self._closed) and self._summary is None

    def copy(self) -> Self:
        return deepcopy(self)

    def _start_block(self, position: int) -> list[Eviction]:
        self.malformed += bool(self._open) or self._summary is not None
        self._open.append(position)
        if not self.rules.keep_last_block_for_answer:
            return []
        evictions = [self._eviction(block) for block in self._pending]
        self._pending = []
        return evictions

    def _end_block(self, position: int) -> None:
        if self._open:
            self._closed.append((self._open.pop(), position))
        else:
            self.malformed += 1

    def _start_summary(self, position: int) -> None:
        if self._closed and self._summary is None:
            self._summary = _OpenSummary(*self._closed.pop(), position)
        else:
            self.malformed += 1

    def _end_summary(self, position: int) -> list[Eviction]:
        if self._summary is None:
            self.malformed += 1
            return []
        block = Block(self._summary.start, self._summary.end, self._summary.summary_start, position)
        self._summary = None
        self.blocks.append(block)
        keep = self.rules.keep_last_n_blocks
        if keep < 0:
            return []
        self._pending.append(block)
        if self.rules.keep_last_block_for_answer:
            return []
        evictions = []
        while len(self._pending) > keep:
            evictions.append(self._eviction(self._pending.pop(0)))
        return evictions

    def _abandon(self) -> None:
        self.malformed += len(self._open) + (self._summary is not None)
        self._open, self._closed, self._summary = [], [], None

    def _eviction(self, block: Block) -> Eviction:
        rewind_to = block.summary_start if self.rules.restart else None
        if self.rules.mask_delimiters:
            return Eviction(block.start, block.end + 1, rewind_to)
        return Eviction(block.start + 1, block.end, rewind_to)


def parse_blocks(ids: ArrayLike, markers: MarkerIds, roles: ArrayLike | None = None) -> list[Block]:
    """The completed blocks of a whole stream.

    Args:
        ids: [T].
        roles: [T] of :class:`Role`; None where the model wrote everything.
    """
    tracker, _ = _read(ids, markers, MementoRules(keep_last_n_blocks=-1), roles)
    return tracker.blocks


def visible_until(
    ids: ArrayLike, markers: MarkerIds, rules: MementoRules, roles: ArrayLike | None = None
) -> NDArray[np.int64]:
    """[T]: the first position that no longer sees each key, NEVER for those that stay.

    Args:
        ids: [T].
        roles: [T] of :class:`Role`; None where the model wrote everything.

    Raises:
        UsageError: restart mode, whose stream holds every memento twice; `expand_for_restart` makes it.
    """
    if rules.restart:
        raise UsageError("rules.restart=True has no mask over the plain stream; expand_for_restart makes one that has")
    until = np.full(len(np.asarray(ids)), NEVER, np.int64)
    for position, eviction in _read(ids, markers, rules, roles)[1]:
        span = until[eviction.start : eviction.end]
        np.minimum(span, position, out=span)
    return until


def resident_tokens(until: ArrayLike) -> NDArray[np.int64]:
    """[T]: keys that are held after each token was fed, from `visible_until` [T]."""
    until = np.asarray(until, np.int64)
    time = len(until)
    leaving = np.bincount(np.minimum(until, time), minlength=time + 1)[:time]
    return np.arange(1, time + 1) - np.cumsum(leaving)


def _read(
    ids: ArrayLike, markers: MarkerIds, rules: MementoRules, roles: ArrayLike | None
) -> tuple[BlockTracker, list[tuple[int, Eviction]]]:
    """The machine after the whole stream, and its evictions with the positions that caused them.

    Only markers and the first token of each protected stretch are shown to it: nothing else changes its state.
    """
    tokens = np.asarray(ids)
    who = np.full(len(tokens), Role.ASSISTANT) if roles is None else np.asarray(roles)
    if tokens.ndim != 1 or who.shape != tokens.shape:
        raise UsageError(f"ids and roles must be one stream of equal length; got {tokens.shape} and {who.shape}")
    protected = who == Role.PROTECTED
    begins = protected & ~np.r_[False, protected[:-1]]
    shown: Sequence[Any] = np.flatnonzero(begins | (np.isin(tokens, markers) & (who == Role.ASSISTANT))).tolist()
    tracker = BlockTracker(markers, rules)
    evictions = [(p, e) for p in shown for e in tracker.push(int(tokens[p]), p, Role(who[p]))]
    return tracker, evictions
