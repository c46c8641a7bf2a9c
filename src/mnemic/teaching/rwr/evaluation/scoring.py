"""What an answer is worth: by the item's own metric, by a judge, or by whether it abstains where it should."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mnemic.teaching.rwr.canon import is_abstention
from mnemic.teaching.rwr.evaluation import text_metrics
from mnemic.teaching.rwr.evaluation.items import EvaluationItem

__all__ = ["ABSTAINED", "JUDGE", "Score", "abstains", "score"]

ABSTAINED: Final = "abstained"
JUDGE: Final = "judge"

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
