"""Recall by the cosine of question and passage."""

from dataclasses import dataclass

from mnemic.storage.recall.ranking import ranked
from mnemic.storage.view import Query, Scored, View

__all__ = ["Dense"]


@dataclass(frozen=True)
class Dense:
    name: str = "dense"

    def recall(self, view: View, query: Query, k: int) -> list[Scored]:
        similarity = view.similarities(query.text)
        return ranked(view, similarity, k, {"vector": similarity})
