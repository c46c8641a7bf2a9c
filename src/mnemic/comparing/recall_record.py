"""A trial as the part of a record that was measured."""

import hashlib
import json
from typing import Any

import numpy as np

from mnemic.comparing.trial import Trial
from mnemic.report.records import RECALL
from mnemic.storage.evaluating import Asked, Evaluation

__all__ = ["measured"]


def measured(trial: Trial) -> dict[str, Any]:
    """Metrics with intervals, slices by the kind of question, scores by question, and the cost."""
    evaluation = trial.evaluation
    metrics: dict[str, float] = {}
    for metric, interval in evaluation.summary().items():
        metrics |= {metric: interval.mean, f"{metric}_low": interval.low, f"{metric}_high": interval.high}
    if trial.fallbacks:
        metrics["fallback_share"] = trial.fallbacks / len(evaluation.asked)
    scored = [one for one in evaluation.asked if RECALL in one.values]
    return {
        "metrics": metrics,
        "slices": {"kind": kinds} if len(kinds := _by_kind(evaluation)) > 1 else {},
        "scores": [one.values[RECALL] for one in scored],
        "asked": _digest(scored),
        "cost": _cost(trial),
    }


def _by_kind(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Of the questions that have an answer."""
    points = []
    for kind in sorted({one.kind for one in evaluation.asked if RECALL in one.values}):
        asked = [one for one in evaluation.asked if one.kind == kind and RECALL in one.values]
        found = Evaluation(evaluation.method, asked).summary()[RECALL]
        point = {"count": len(asked), "accuracy": found.mean, "low": found.low, "high": found.high}
        points.append({"value": kind or "other", **point})
    return points


def _digest(asked: list[Asked]) -> str:
    return hashlib.sha256(json.dumps([one.question for one in asked]).encode()).hexdigest()[:12]


def _cost(trial: Trial) -> dict[str, Any]:
    reads = [one.seconds for one in trial.evaluation.asked]
    cost: dict[str, Any] = {
        "bytes_per_passage": trial.bytes / trial.passages if trial.passages else None,
        "build_seconds": trial.build_seconds,
        **_percentiles("write_seconds", trial.write_seconds),
        **_percentiles("read_seconds", reads),
        "llm_calls": trial.llm.requests if trial.llm is not None else 0,
        "llm_prompt_tokens": trial.llm.prompt_tokens if trial.llm is not None else 0,
        "llm_completion_tokens": trial.llm.completion_tokens if trial.llm is not None else 0,
    }
    told = {
        "passages_without_text": trial.blank,
        "passages_not_understood": trial.unextracted,
        "llm_bad_replies": trial.llm.failed if trial.llm is not None else 0,
    }
    return cost | {name: count for name, count in told.items() if count}


def _percentiles(name: str, seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    middle, most = np.percentile(seconds, [50, 95])
    return {name: float(middle), f"{name}_p95": float(most)}
