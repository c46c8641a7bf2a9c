"""Answers of one task, summed up: means with intervals, and cut by what makes the questions hard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mnemic.intervals import Interval, mean_interval
from mnemic.tasks.base import TaskConfig
from mnemic.training.buckets import buckets

__all__ = ["Part", "Summary", "sum_up"]


@dataclass(frozen=True)
class Part:
    """The answers that share one value of a slice; the score in percent."""

    value: str
    count: int
    score: float


@dataclass(frozen=True)
class Summary:
    """Scores in percent, as RULER prints them.

    Attributes:
        score: by the task's own rule, with its 95 % bootstrap interval over questions.
        exact, precision, f1: see `scoring.Score`; precision over the answers that say anything of the kind.
        slices: name -> parts, for slices with at least two values.
        tokens, seconds: sums over answers, None where nobody knows.
    """

    task: str
    count: int
    failed: int
    score: Interval
    exact: float
    precision: float | None
    f1: float
    slices: Mapping[str, tuple[Part, ...]]
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def sum_up(task: TaskConfig, rows: Sequence[Mapping[str, Any]], *, failed: int = 0, seed: int = 0) -> Summary:
    """What the records of `asking.ask_task` say together."""
    scores = [float(row["score"]) for row in rows]
    found = mean_interval(scores, seed)
    said = [row["precision"] for row in rows if row["precision"] is not None]
    return Summary(
        task.spec(),
        len(rows),
        failed,
        Interval(100 * found.mean, 100 * found.low, 100 * found.high),
        _percent([row["exact"] for row in rows]),
        _percent(said) if said else None,
        _percent([row["f1"] for row in rows]),
        {name: parts for name in rows[0]["slices"] if len(parts := _parts(name, rows, scores)) > 1},
        _total(rows, "prompt_tokens"),
        _total(rows, "completion_tokens"),
        _total(rows, "seconds"),
    )


def _parts(name: str, rows: Sequence[Mapping[str, Any]], scores: Sequence[float]) -> tuple[Part, ...]:
    values = np.array([row["slices"][name] for row in rows], np.int64)
    if name == "depth":  # tenths of the text, which ranges that double would cut unevenly
        names, bucket = [f"{10 * tenth}-{10 * tenth + 9}" for tenth in range(10)], np.minimum(values // 10, 9)
    else:
        names, bucket = buckets(name, values)
    members = {i: [s for s, b in zip(scores, bucket, strict=True) if b == i] for i in range(len(names))}
    return tuple(Part(names[i], len(mine), _percent(mine)) for i, mine in members.items() if mine)


def _percent(values: Sequence[float]) -> float:
    return 100 * float(np.mean(values))


def _total(rows: Sequence[Mapping[str, Any]], name: str) -> Any:
    known = [row[name] for row in rows if row[name] is not None]
    return sum(known) if known else None
