"""Recall for conversations by vectors alone: a session is as near as its nearest unit, and its summary helps."""

from dataclasses import dataclass

import numpy as np

from mnemic.storage.recall.ranking import ranked
from mnemic.storage.recall.sessions import sessions_of
from mnemic.storage.view import Query, Scored, View

__all__ = ["BestTurn"]


@dataclass(frozen=True)
class BestTurn:
    """Attributes:
    summary: add the cosine of the session's summary, where there is one.
    """

    summary: bool = True
    name: str = "best-turn"

    def recall(self, view: View, query: Query, k: int) -> list[Scored]:
        sessions = sessions_of(view)
        similarity = view.similarities(query.text)
        parts = {"vector": sessions.unit_likeness(similarity)}
        told = sessions.summary >= 0
        if self.summary and told.any():
            parts["summary vector"] = np.where(told, similarity[sessions.summary], 0.0)[sessions.session]
        total = np.sum(list(parts.values()), axis=0)
        return ranked(view, total, k, parts)
