"""A view as conversations: its sessions, and each turn together with the one before it.

A turn is often an answer that says little without its question, so what is compared with a query is two consecutive
turns. A unit ends with its turn: what is said later changes no unit.

N passages, S sessions, D wide.
"""

from bisect import bisect
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mnemic.storage.encoders.pooling import unit
from mnemic.storage.growing import Growing
from mnemic.storage.keywords import Groups
from mnemic.storage.recall.ranking import answers
from mnemic.storage.view import View

__all__ = ["Sessions", "sessions_of"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sessions:
    """Attributes:
    count: S of them, in the order of their first passage; a passage without one is a session by itself.
    session: `[N]`, of each passage.
    summary: `[S]`, index of the session's latest summary, -1 where it has none.
    units: group i is passage i, and the turn before it if it is one.
    whole: group s holds the turns and chunks of session s.
    before: `[N]`, the turn before each, -1 for what is no turn or is the first of its session.
    lengths: `[N]`, of the sum of the vectors of each unit.
    """

    count: int
    session: Ints
    summary: Ints
    units: Groups
    whole: Groups
    before: Ints
    lengths: NDArray[np.float64]

    def unit_likeness(self, likeness: NDArray[np.float64]) -> NDArray[np.float64]:
        """`[N]`: the cosine of every unit's vector, which is the sum of its passages', out of those of the passages."""
        joined = np.flatnonzero(self.before >= 0)
        sums = likeness.copy()
        sums[joined] += likeness[self.before[joined]]
        return sums / self.lengths

    def unit_vectors(self, view: View, rows: Ints) -> NDArray[np.float32]:
        """Of some units, unit norm."""
        sums = view.vectors[rows].copy()
        joined = self.before[rows] >= 0
        sums[joined] += view.vectors[self.before[rows[joined]]]
        return unit(sums)


def sessions_of(view: View) -> Sessions:
    return view.once("sessions", _made)


def _made(view: View) -> Sessions:
    count = len(view.passages)
    turns = view.extended("turns", _extended)
    session = turns.session.rows[:count]
    before = turns.before
    sessions = int(session.max()) + 1 if count else 0
    summary = np.full(sessions, -1, np.int64)
    told = turns.summaries.rows
    told = told[told < count]
    summary[session[told]] = told
    after = np.full(count, -1, np.int64)
    joined = np.flatnonzero(before >= 0)
    after[before[joined]] = joined
    return Sessions(
        sessions,
        session,
        summary,
        Groups.of(np.stack([np.arange(count), after], axis=1), count),
        Groups.of(np.where(answers(view), session, -1)[:, None], sessions),
        before,
        turns.lengths,
    )


@dataclass(eq=False)
class _Turns:
    """What grows as passages come.

    Attributes:
        numbers: of the named sessions.
        count: of all sessions.
        spoken: of each session its turns as (time, index), in the order in which they were said.
        session: `[N]`, of each passage.
        summaries: indices of summaries.
        before: `[N]`, the turn before, -1 for what is no turn or is the first of its session.
        lengths: `[N]`, of the sum of each passage's vector and that of the turn before.
    """

    numbers: dict[str, int] = field(default_factory=dict)
    count: int = 0
    spoken: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    session: Growing[np.int64] = field(default_factory=lambda: Growing(np.int64))
    summaries: Growing[np.int64] = field(default_factory=lambda: Growing(np.int64))
    before: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    lengths: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


def _extended(view: View, turns: _Turns | None, first: int) -> _Turns:
    turns = turns or _Turns()
    new = range(first, len(view.passages))
    turns.session.extend(np.array([_session(turns, view.passages[index].session) for index in new], np.int64))
    turns.summaries.extend(np.array([i for i in new if view.passages[i].level == "summary"], np.int64))
    old, turns.before = turns.before, _turns_before(view, turns, new)
    changed = np.concatenate([np.flatnonzero(turns.before[:first] != old), np.array(new, np.int64)])
    turns.lengths = np.concatenate([turns.lengths, np.ones(len(new))])
    turns.lengths[changed] = _lengths(view, turns.before, changed)
    return turns


def _session(turns: _Turns, name: str) -> int:
    number = turns.numbers.get(name, turns.count) if name else turns.count
    if number == turns.count:
        turns.count += 1
        if name:
            turns.numbers[name] = number
    return number


def _turns_before(view: View, turns: _Turns, new: range) -> Ints:
    """`[N]`: the turn before each, in time, or in order where that is not known. One that is told late of goes between
    two old ones."""
    before = np.concatenate([turns.before, np.full(len(new), -1, np.int64)])
    session = turns.session.rows
    said = [(int(session[i]), view.passages[i].time or 0, i) for i in new if view.passages[i].level == "turn"]
    for number, time, index in sorted(said):
        spoken = turns.spoken.setdefault(number, [])
        place = bisect(spoken, (time, index))
        if place > 0:
            before[index] = spoken[place - 1][1]
        if place < len(spoken):
            before[spoken[place][1]] = index
        spoken.insert(place, (time, index))
    return before


def _lengths(view: View, before: Ints, rows: Ints) -> NDArray[np.float64]:
    """Of the sums of the vectors of some passages and of the turns before them."""
    sums = view.vectors[rows].astype(np.float64)
    joined = before[rows] >= 0
    sums[joined] += view.vectors[before[rows[joined]]]
    lengths = np.linalg.norm(sums, axis=1)
    return np.where(lengths > 0, lengths, 1.0)
