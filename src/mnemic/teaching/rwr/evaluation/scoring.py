"""From answers to scores: of one answer, and of many by kind of question and by length, with intervals.

Legend: B answers, K columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from mnemic.teaching.rwr.canon import is_abstention
from mnemic.teaching.rwr.evaluation import text_metrics
from mnemic.teaching.rwr.evaluation.items import EvaluationItem
from mnemic.training.intervals import bootstrap, draw_weights

__all__ = ["ABSTAINED", "JUDGE", "TIMES", "Score", "Summary", "abstains", "length_bucket", "score", "summarise"]

ABSTAINED: Final = "abstained"
JUDGE: Final = "judge"
TIMES: Final = (1, 2, 4, 8, 16)

_REFUSAL = re.compile(
    r"\b(?:unanswerable|cannot be (?:answered|determined)|can(?:no|')t (?:answer|determine|tell)|"
    r"(?:do|does|did)(?: not|n't) (?:know|say|mention|contain|have|provide|specify)|"
    r"not (?:mentioned|specified|provided|enough information|known|available)|"
    r"(?:no|insufficient) (?:information|record|mention)|(?:never|have(?: not|n't)) (?:mentioned|said|told))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Score:
    """What an answer is worth.

    Attributes:
        score: 0 to 1, by `scored_by`: the judge where there is one; otherwise the item's own metric, and for what
            cannot be answered whether the answer abstains.
        abstained: it says, in some way, that there is no answer.
        metrics: all that can be told without a judge, and the judge's verdict.
    """

    score: float
    scored_by: str
    abstained: bool
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Summary:
    """Scores of many answers.

    Attributes:
        groups: "all", "answerable", "abstention", "type <name>", "category <name>" (where there are several) and
            "length <bucket>" → n, score, low and high of its 95 % bootstrap interval, what it was scored by, and means
            of the metrics. Types, categories and lengths are of answerable questions: what always abstains would be
            perfect on the others.
        abstention: precision and recall of abstaining, and how often each; None where it is of nothing.
        failed: questions without an answer; they are in no mean.
        category_mean: of the scores of the categories, as HELMET sums up; None where there is one category.
    """

    groups: Mapping[str, Mapping[str, Any]]
    abstention: Mapping[str, float | int | None]
    failed: int
    category_mean: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def abstains(said: str) -> bool:
    """Whether an answer is the one word for that, or is short and says it in other words."""
    return is_abstention(said) or (len(said.split()) <= 60 and _REFUSAL.search(said) is not None)


def score(item: EvaluationItem, said: str, judge: Callable[[EvaluationItem, str], bool] | None = None) -> Score:
    """Score one answer.

    Args:
        said: the answer alone, without a note before it, in which the right words may stand beside wrong ones.
        judge: such as `LLMJudge`; it is not asked about rankings.
    """
    metrics = _metrics(item, said)
    abstained = abstains(said)
    if judge is not None and item.metric != "ndcg@10":
        verdict = float(judge(item, said))
        return Score(verdict, JUDGE, bool(verdict) if item.is_abstention else abstained, metrics | {JUDGE: verdict})
    if item.is_abstention:
        return Score(float(abstained), ABSTAINED, abstained, metrics)
    return Score(0.0 if abstained and not _wants_refusal(item) else metrics[item.metric], item.metric, abstained,
                 metrics)  # fmt: skip


def length_bucket(tokens: int, training_length: int | None) -> str:
    """How many times the training length, or, where there is none, how many tokens at most: doublings of 1,024."""
    if training_length is None:
        most = 1024
        while most < tokens:
            most *= 2
        return f"≤ {most:,}"
    return next((f"{times}×" for times in TIMES if tokens <= times * training_length), f"> {TIMES[-1]}×")


def summarise(rows: Sequence[Mapping[str, Any]], training_length: int | None = None, *, failed: int = 0,
              seed: int = 0) -> Summary:  # fmt: skip
    """Summarise the records that `evaluate` writes.

    Args:
        failed: questions that have no record.
        seed: of the bootstrap.
    """
    answerable = [row for row in rows if not row["is_abstention"]]
    groups: dict[str, list[Mapping[str, Any]]] = {"all": list(rows)}
    if len(answerable) < len(rows):
        groups |= {"answerable": answerable, "abstention": [row for row in rows if row["is_abstention"]]}
    for row in answerable:
        groups.setdefault(f"type {row['question_type']}", []).append(row)
    categories = list(dict.fromkeys(row["category"] for row in answerable))
    if len(categories) > 1:
        groups |= {f"category {name}": [row for row in answerable if row["category"] == name] for name in categories}
    for row in sorted(answerable, key=lambda row: row["length"]):
        groups.setdefault(f"length {length_bucket(row['length'], training_length)}", []).append(row)
    found = {name: _group(some, seed) for name, some in groups.items() if some}
    means = [group["score"] for name, group in found.items() if name.startswith("category ")]
    return Summary(found, _abstention(rows), failed, sum(means) / len(means) if means else None)


def _metrics(item: EvaluationItem, said: str) -> dict[str, float]:
    if item.metric == "ndcg@10":
        labels = dict(_label(answer) for answer in item.answers)
        return {"ndcg@10": text_metrics.ndcg(text_metrics.ranking(said), labels)}
    found = {
        "same": text_metrics.same_text(said, item.answers),
        "exact": text_metrics.exact(said, item.answers),
        "f1": text_metrics.f1(said, item.answers),
        "substring": text_metrics.substring(said, item.answers),
    }
    if item.metric not in found:
        found[item.metric] = getattr(text_metrics, item.metric)(said, item.answers)
    return found


def _label(answer: str) -> tuple[str, float]:
    name, _, label = answer.rpartition(" ")
    return name, float(label)


def _wants_refusal(item: EvaluationItem) -> bool:
    return any(abstains(answer) for answer in item.answers)


def _group(rows: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    metrics = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    sums = np.array([[row["score"], *(row["metrics"].get(name, 0.0) for name in metrics)] for row in rows])  # [B, K]
    counts = np.array([[1.0, *(float(name in row["metrics"]) for name in metrics)] for row in rows])
    means, low, high = bootstrap(sums, counts, draw_weights(len(rows), seed))
    return {
        "n": len(rows),
        "score": float(means[0]),
        "low": float(low[0]),
        "high": float(high[0]),
        "scored_by": sorted({row["scored_by"] for row in rows}),
        "metrics": {name: float(mean) for name, mean in zip(metrics, means[1:], strict=True)},
    }


def _abstention(rows: Iterable[Mapping[str, Any]]) -> dict[str, float | int | None]:
    pairs = [(bool(row["is_abstention"]), bool(row["abstained"])) for row in rows]
    right = sum(should and did for should, did in pairs)
    should, did = (sum(pair[which] for pair in pairs) for which in (0, 1))
    return {
        "precision": right / did if did else None,
        "recall": right / should if should else None,
        "abstained": did,
        "unanswerable": should,
    }
