"""Scores of many answers, by kind of question and by length, with intervals; abstaining; and what it all cost.

Legend: B answers, K columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mnemic.intervals import bootstrap, draw_weights
from mnemic.teaching.rwr.speed import Speed

__all__ = ["Row", "Summary", "grouped", "length_bucket", "summarise"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Summary:
    """Scores of many answers.

    Attributes:
        groups: "all", "answerable", "abstention", "type <name>", "category <name>" (where there are several) and
            "length <bucket>" → n, score, low and high of its 95 % bootstrap interval, what it was scored by, and means
            of the metrics. Types, categories and lengths are of answerable questions: what always abstains would be
            perfect on the others.
        abstention: precision and recall of abstaining, how often it was done and how often it was right to; None where
            it is of nothing.
        abstention_by_length: the same for each bucket of lengths, of all its questions.
        failed: questions without an answer; they are in no mean.
        category_mean: of the scores of the categories, as HELMET sums up; None where there is one category.
        cost: tokens and seconds of all answers together, as far as they are known; `speed` and the bytes of the memory
            are known of checkpoints alone, where `held_bytes` is the most that any context left in memory.
    """

    groups: Mapping[str, Mapping[str, Any]]
    abstention: Mapping[str, float | int | None]
    abstention_by_length: Mapping[str, Mapping[str, float | int | None]]
    failed: int
    category_mean: float | None
    cost: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def length_bucket(tokens: int, training_length: int | None) -> str:
    """The least doubling of the training length that is as long: 1×, 2×, 4×, …; without one, of 1,024 tokens."""
    times, unit = 1, 1024 if training_length is None else training_length
    while tokens > times * unit:
        times *= 2
    return f"≤ {times * unit:,}" if training_length is None else f"{times}×"


def grouped(rows: Sequence[Row], training_length: int | None = None) -> dict[str, list[Row]]:
    """The records of each group of a :class:`Summary`."""
    answerable = [row for row in rows if not row["is_abstention"]]
    groups: dict[str, list[Row]] = {"all": list(rows)}
    if len(answerable) < len(rows):
        groups |= {"answerable": answerable, "abstention": [row for row in rows if row["is_abstention"]]}
    for row in answerable:
        groups.setdefault(f"type {row['question_type']}", []).append(row)
    categories = list(dict.fromkeys(row["category"] for row in answerable))
    if len(categories) > 1:
        groups |= {f"category {name}": [row for row in answerable if row["category"] == name] for name in categories}
    groups |= _by_length(answerable, training_length)
    return {name: some for name, some in groups.items() if some}


def summarise(rows: Sequence[Row], training_length: int | None = None, *, failed: int = 0, seed: int = 0) -> Summary:
    """Summarise the records that `evaluate` writes.

    Args:
        failed: questions that have no record.
        seed: of the bootstrap.
    """
    found = {name: _group(some, seed) for name, some in grouped(rows, training_length).items()}
    means = [group["score"] for name, group in found.items() if name.startswith("category ")]
    return Summary(
        groups=found,
        abstention=_abstention(rows),
        abstention_by_length={name: _abstention(some) for name, some in _by_length(rows, training_length).items()},
        failed=failed,
        category_mean=sum(means) / len(means) if means else None,
        cost=_cost(rows),
    )


def _by_length(rows: Iterable[Row], training_length: int | None) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["length"]):
        groups.setdefault(f"length {length_bucket(row['length'], training_length)}", []).append(row)
    return groups


def _group(rows: Sequence[Row], seed: int) -> dict[str, Any]:
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


def _abstention(rows: Iterable[Row]) -> dict[str, float | int | None]:
    pairs = [(bool(row["is_abstention"]), bool(row["abstained"])) for row in rows]
    right = sum(should and did for should, did in pairs)
    should, did = (sum(pair[which] for pair in pairs) for which in (0, 1))
    return {
        "precision": right / did if did else None,
        "recall": right / should if should else None,
        "abstained": did,
        "unanswerable": should,
    }


def _cost(rows: Sequence[Row]) -> dict[str, Any]:
    speeds = [row["speed"] for row in rows if row.get("speed")]
    added = ("prefill_tokens", "prefill_seconds", "decode_tokens", "decode_seconds")
    sums: dict[str, Any] = {name: sum(one[name] for one in speeds) for name in added}
    speed = Speed(**sums, held_bytes=max((one["held_bytes"] for one in speeds), default=0))
    return {
        **{name: _total(rows, name) for name in ("prompt_tokens", "completion_tokens", "seconds")},
        "speed": speed.as_json() if speeds else None,
        "state_bytes": max((row["state_bytes"] for row in rows if row.get("state_bytes")), default=None),
    }


def _total(rows: Sequence[Row], name: str) -> Any:
    known = [row[name] for row in rows if row.get(name) is not None]
    return sum(known) if known else None
