"""Recall for conversations: words and vectors, at the level of the turn and of the session.

A turn's score is z(BM25 of its unit) + z(BM25 of its session) + z(cosine of its unit), and of its session's summary
where there is one; z standardises over what is compared. See `sessions` for units.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnemic.storage.keywords import bm25
from mnemic.storage.recall.ranking import answers, best_first, ranked, standardised
from mnemic.storage.recall.sessions import Sessions, sessions_of
from mnemic.storage.view import Query, Scored, View

__all__ = ["Hybrid"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Hybrid:
    """Attributes:
    rank_constant: fuse by reciprocal ranks with this constant (60 is usual) instead of standardised scores.
    """

    rank_constant: float | None = None
    name: str = "hybrid"

    def recall(self, view: View, query: Query, k: int) -> list[Scored]:
        sessions, able = sessions_of(view), answers(view)
        matches, lengths = view.keywords.matches(query.text), view.keywords.lengths
        similarity = view.similarities(query.text)
        parts = {
            "keyword": self._fused(bm25(matches, lengths, sessions.units), able),
            "vector": self._fused(sessions.unit_likeness(similarity), able),
        }
        if sessions.count < len(view.passages):
            whole = bm25(matches, lengths, sessions.whole)
            parts["session keyword"] = self._fused(whole, np.ones(sessions.count, bool))[sessions.session]
        if (sessions.summary >= 0).any():
            told = bm25(matches, lengths)
            parts["summary keyword"] = self._of_summaries(told, sessions)
            parts["summary vector"] = self._of_summaries(similarity, sessions)
        total = np.sum(list(parts.values()), axis=0)
        return ranked(view, total, k, parts)

    def _fused(self, scores: Floats, compared: NDArray[np.bool_]) -> Floats:
        """What one part adds: its scores, standardised over what is compared, or its reciprocal ranks."""
        added = np.zeros_like(scores)
        if self.rank_constant is None:
            added[compared] = standardised(scores[compared])
        else:
            order = best_first(np.where(compared, scores, -np.inf), len(scores))
            added[order] = 1 / (self.rank_constant + 1 + np.arange(len(order)))
        return added

    def _of_summaries(self, scores: Floats, sessions: Sessions) -> Floats:
        """`[N]`: of each passage what its session's summary adds; nothing where there is none."""
        told = sessions.summary >= 0
        by_session = np.zeros(sessions.count)
        by_session[told] = scores[sessions.summary[told]]
        return self._fused(by_session, told)[sessions.session]
