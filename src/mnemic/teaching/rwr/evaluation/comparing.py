"""Two evaluations of the same questions, such as before and after teaching: what changed, with paired intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mnemic.errors import UsageError
from mnemic.intervals import bootstrap, draw_weights
from mnemic.teaching.rwr.evaluation.reading import Entry, read_entries
from mnemic.teaching.rwr.evaluation.summary import Row, grouped
from mnemic.teaching.scored_answers import RESULTS

__all__ = ["Comparison", "compare", "read_results"]


class _Result(Entry):
    id: str
    question: str
    expected: tuple[str, ...]
    question_type: str
    category: str
    is_abstention: bool
    length: int
    score: float
    scored_by: str


@dataclass(frozen=True)
class Comparison:
    """
    Attributes:
        groups: as of `Summary`, of the questions that both answered → n, before, after, difference (after - before),
            and low and high of its 95 % bootstrap interval, in which a question is drawn with both its scores.
        only_before, only_after: questions that the other has no answer to; they are in no group.
    """

    groups: Mapping[str, Mapping[str, float]]
    only_before: int
    only_after: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def read_results(folder: str | Path) -> list[Row]:
    """The records of a finished evaluation.

    Args:
        folder: that `evaluate` filled, or its summary.json.

    Raises:
        UsageError: there is no such evaluation, or a record lacks a field.
    """
    root = Path(folder).parent if Path(folder).name == "summary.json" else Path(folder)
    path = root / f"{RESULTS}.jsonl"
    if not path.is_file():
        raise UsageError(f"'{folder}' is no finished evaluation: there is no file '{path}'")
    return [result.model_dump() for _, result in read_entries(str(path), _Result)]


def compare(
    before: Sequence[Row], after: Sequence[Row], training_length: int | None = None, *, seed: int = 0
) -> Comparison:
    """What changed, question by question.

    Args:
        training_length: for groups by its multiples; lengths are those of `after`.
        seed: of the bootstrap.

    Raises:
        UsageError: they share no question, or one of them is another question or was scored otherwise.
    """
    old, new = ({row["id"]: row for row in rows} for rows in (before, after))
    shared = [_pair(old[name], row) for name, row in new.items() if name in old]
    if not shared:
        raise UsageError("the two evaluations share no question; compare those of the same --data")
    groups = {name: _difference(rows, seed) for name, rows in grouped(shared, training_length).items()}
    return Comparison(groups, len(old) - len(shared), len(new) - len(shared))


def _pair(old: Row, new: Row) -> Row:
    for field in ("question", "expected", "scored_by"):
        then, now = (list(row[field]) if field == "expected" else row[field] for row in (old, new))
        if then != now:
            raise UsageError(f"question '{new['id']}' has another '{field}' in each evaluation: {then!r} and {now!r}")
    return {**new, "before": old["score"]}


def _difference(rows: Sequence[Row], seed: int) -> dict[str, float]:
    scores = np.array([[row["before"], row["score"]] for row in rows])
    gained = scores[:, 1:] - scores[:, :1]
    mean, low, high = bootstrap(gained, np.ones_like(gained), draw_weights(len(rows), seed))
    before, after = scores.mean(0)
    return {"n": len(rows), "before": float(before), "after": float(after), "difference": float(mean[0]),
            "low": float(low[0]), "high": float(high[0])}  # fmt: skip
