"""Recall by the words of the question alone."""

from dataclasses import dataclass

import numpy as np

from mnemic.storage.recall.ranking import ranked
from mnemic.storage.view import Query, Scored, View

__all__ = ["BM25"]


@dataclass(frozen=True)
class BM25:
    """Passages with none of the words are not recalled."""

    name: str = "bm25"

    def recall(self, view: View, query: Query, k: int) -> list[Scored]:
        words = view.keyword_scores(query.text)
        scores = np.where(words > 0, words, -np.inf)
        return ranked(view, scores, k, {"keyword": words})
