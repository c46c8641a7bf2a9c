"""A view as conversations: its sessions, and each turn together with the one before it.

A turn is often an answer that says little without its question, so what is compared with a query is two consecutive
turns. A unit ends with its turn: what is said later changes no unit.

N passages, S sessions, D wide.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnemic.storage.encoders.pooling import unit
from mnemic.storage.keywords import Groups
from mnemic.storage.recall.ranking import answers
from mnemic.storage.view import View

__all__ = ["Sessions", "sessions_of"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sessions:
    """Attributes:
    names: S of them, in the order of their first passage; a passage without one is a session by itself, named "".
    session: `[N]`, of each passage.
    summary: `[S]`, index of the session's summary, -1 where it has none.
    units: group i is passage i, and the turn before it if it is one.
    whole: group s holds the turns and chunks of session s.
    unit_vectors: `[N, D]`, unit norm.
    """

    names: tuple[str, ...]
    session: Ints
    summary: Ints
    units: Groups
    whole: Groups
    unit_vectors: NDArray[np.float32]

    @property
    def count(self) -> int:
        return len(self.names)


def sessions_of(view: View) -> Sessions:
    return view.once("sessions", _made)


def _made(view: View) -> Sessions:
    count = len(view.passages)
    names: dict[str, int] = {}
    keys = [passage.session or f"\0{index}" for index, passage in enumerate(view.passages)]
    session = np.array([names.setdefault(key, len(names)) for key in keys], np.int64)
    summary = np.full(len(names), -1, np.int64)
    for index, passage in enumerate(view.passages):
        if passage.level == "summary":
            summary[session[index]] = index
    before = _turn_before(view, session)
    joined = np.flatnonzero(before >= 0)
    vectors = view.vectors.copy()
    vectors[joined] += view.vectors[before[joined]]
    every, able = np.arange(count), answers(view)
    return Sessions(
        tuple(key if not key.startswith("\0") else "" for key in names),
        session,
        summary,
        Groups.of(np.concatenate([every, before[joined]]), np.concatenate([every, joined]), count, count),
        Groups.of(every[able], session[able], count, len(names)),
        unit(vectors),
    )


def _turn_before(view: View, session: Ints) -> Ints:
    """`[N]`, -1 for what is no turn or is the first of its session. In time, or in order where that is not known."""
    before = np.full(len(view.passages), -1, np.int64)
    turns = np.array([i for i, passage in enumerate(view.passages) if passage.level == "turn"], np.int64)
    times = np.array([view.passages[i].time or 0 for i in turns], np.int64)
    turns = turns[np.lexsort((turns, times, session[turns]))]
    follows = session[turns[1:]] == session[turns[:-1]]
    before[turns[1:][follows]] = turns[:-1][follows]
    return before
