"""Several lengths of one task side by side: how far a model's context really reaches, and where in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mnemic.catalogue import parse_spec
from mnemic.teaching.asking.scoring import LLAMA2_AT_4K, effective_length
from mnemic.teaching.asking.summing_up import Summary

__all__ = ["ByLength", "by_length", "depth_map"]

_FEWEST = 2


@dataclass(frozen=True)
class ByLength:
    """Mean scores, in percent, over the tasks that were asked at every length.

    Attributes:
        effective: the largest length that reaches RULER's bar; 0: none does.
    """

    scores: Mapping[int, float]
    effective: int

    def sentence(self) -> str:
        listed = ", ".join(f"{score:.1f} at {length:,}" for length, score in self.scores.items())
        bar = f"RULER's bar of {LLAMA2_AT_4K}"
        reached = f"up to {self.effective:,} tokens it reaches" if self.effective else "no length reaches"
        return f"mean score by length: {listed}; {reached} {bar}."


def by_length(summaries: Sequence[Summary]) -> ByLength | None:
    """None where no set of tasks was asked at two lengths or more."""
    of_task: dict[str, dict[int, float]] = {}
    for summary in summaries:
        if (cut := _cut(summary)) is not None:
            of_task.setdefault(cut[0], {})[cut[1]] = summary.score.mean
    shared = set.intersection(*(set(found) for found in of_task.values())) if of_task else set()
    if len(shared) < _FEWEST:
        return None
    scores = {
        length: sum(found[length] for found in of_task.values()) / len(of_task) for length in sorted(shared)
    }  # fmt: skip
    return ByLength(scores, effective_length(scores))


def depth_map(summaries: Sequence[Summary]) -> list[str]:
    """Lines of a table, length by depth of the needle, where lengths differ; empty where there is nothing to cut."""
    rows = [(cut, s.slices["depth"]) for s in summaries if "depth" in s.slices and (cut := _cut(s)) is not None]
    if len(rows) < _FEWEST:
        return []
    tenths = [f"{10 * tenth}-{10 * tenth + 9}" for tenth in range(10)]
    lines = [
        "score by depth of the needle, in percent of the text",
        f"{'length':>10}  " + "".join(f"{t:>7}" for t in tenths),
    ]
    for (_, length), parts in sorted(rows, key=lambda row: (row[0][0], row[0][1])):
        found = {part.value: part.score for part in parts}
        lines.append(f"{length:>10,}  " + "".join(f"{found[t]:>7.0f}" if t in found else f"{'–':>7}" for t in tenths))
    return lines


def _cut(summary: Summary) -> tuple[str, int] | None:
    """The task without its length, and the length; None where it has none."""
    name, options = parse_spec(summary.task)
    length = options.pop("length", None)
    if length is None or not length.isdigit():
        return None
    return f"{name} {sorted(options.items())}", int(length)
