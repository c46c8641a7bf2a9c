"""Recall methods put to questions whose evidence is known.

Conversations are judged by session: the passages that a method returns stand for their sessions, in the order in which
the first of each comes.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mnemic.intervals import Interval, mean_intervals
from mnemic.storage.corpora import Corpus, Question
from mnemic.storage.retrieval_metrics import all_recall_at_k, ndcg_at_k, recall_at_k, turns_to_sessions
from mnemic.storage.view import Method, Query, View

__all__ = ["DEPTHS", "Asked", "Evaluation", "evaluate", "judge"]

DEPTHS = (1, 2, 3, 5, 10)


@dataclass(frozen=True)
class Asked:
    """One question, answered.

    Attributes:
        values: metric -> value, such as "recall@5".
        seconds: until the passages were there.
    """

    question: str
    kind: str
    values: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Evaluation:
    """Attributes:
    asked: in the order of the questions; those that have an answer and those that have none are told apart by the
        names of their values.
    """

    method: str
    asked: list[Asked] = field(default_factory=list)

    def values(self, metric: str) -> list[float]:
        """Of every question that has this metric, in order."""
        return [one.values[metric] for one in self.asked if metric in one.values]

    @property
    def metrics(self) -> list[str]:
        return list(dict.fromkeys(metric for one in self.asked for metric in one.values))

    def summary(self, seed: int = 0) -> dict[str, Interval]:
        """Metric -> mean and interval over the questions that have it."""
        asked_by: dict[tuple[int, ...], list[str]] = {}
        for metric in self.metrics:
            which = tuple(number for number, one in enumerate(self.asked) if metric in one.values)
            asked_by.setdefault(which, []).append(metric)
        found: dict[str, Interval] = {}
        for which, metrics in asked_by.items():
            values = np.array([[self.asked[number].values[metric] for metric in metrics] for number in which])
            found |= zip(metrics, mean_intervals(values, seed), strict=True)
        return {metric: found[metric] for metric in self.metrics}

    @property
    def median_seconds(self) -> float:
        ordered = sorted(one.seconds for one in self.asked)
        return ordered[len(ordered) // 2] if ordered else 0.0


def evaluate(method: Method, corpora: Iterable[tuple[Corpus, View]], depths: Sequence[int] = DEPTHS) -> Evaluation:
    """Ask every question of every corpus.

    Args:
        corpora: with the view that the method is to see.
        depths: k of recall@k, all@k and ndcg@k.

    Returns:
        For a corpus, metrics of passages. For a conversation, of sessions, with "turn_recall@k" beside them, and
        "unanswerable_recall@k" alone for questions that have no answer.
    """
    result = Evaluation(method.name)
    for corpus, view in corpora:
        for question in corpus.asked:
            wanted = len(view.passages) if corpus.conversational else max(depths)
            began = time.perf_counter()
            hits = method.recall(view, Query(question.text, question.time), wanted)
            seconds = time.perf_counter() - began
            ranked = [view.passages[hit.index] for hit in hits]
            values = judge(
                question,
                [passage.id for passage in ranked],
                turns_to_sessions([passage.session for passage in ranked]) if corpus.conversational else None,
                depths,
            )
            result.asked.append(Asked(f"{corpus.name}/{question.id}", question.kind, values, seconds))
    return result


def judge(
    question: Question, passages: Sequence[str], sessions: Sequence[str] | None, depths: Sequence[int]
) -> dict[str, float]:
    """Metric -> value of one question.

    Args:
        passages: ids, best first.
        sessions: best first, where the question is about a conversation.
        depths: k of recall@k, all@k and ndcg@k.
    """
    ranked = passages if sessions is None else sessions
    gold = question.evidence if sessions is None else question.sessions
    if not question.answerable:
        return {f"unanswerable_recall@{k}": recall_at_k(ranked, gold, k) for k in depths}
    values: dict[str, float] = {}
    for k in depths:
        values[f"recall@{k}"] = recall_at_k(ranked, gold, k)
        values[f"all@{k}"] = all_recall_at_k(ranked, gold, k)
        values[f"ndcg@{k}"] = ndcg_at_k(ranked, gold, k)
        if sessions is not None and question.evidence:
            values[f"turn_recall@{k}"] = recall_at_k(passages, question.evidence, k)
    return values
