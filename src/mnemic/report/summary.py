"""Runs that differ only in their seed, taken together."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist, fmean, stdev
from typing import Any

from mnemic.intervals import paired_difference
from mnemic.report.records import Record

__all__ = ["Estimate", "Group", "group_runs", "pool"]

_Z = NormalDist().inv_cdf(0.975)
_T_FEW = (12.7062, 4.3027, 3.1824, 2.7764)  # 0.975 quantile of Student's t, 1 to 4 degrees of freedom


@dataclass(frozen=True)
class Estimate:
    """A measurement over seeds.

    Attributes:
        mean: over seeds.
        low, high: 95 % interval of the mean.
        least, most: range over seeds.
        runs: how many seeds.
    """

    mean: float
    low: float
    high: float
    least: float
    most: float
    runs: int

    def overlaps(self, other: Estimate) -> bool:
        return self.low <= other.high and other.low <= self.high


def pool(runs: Sequence[tuple[float, float | None, float | None]], ceiling: float = math.inf) -> Estimate | None:
    """The mean over seeds and its interval, from each run's (value, low, high); None when there is no run.

    Two sources of error add up as variances: the luck of training, seen as the spread over seeds (Student's t, n - 1
    degrees of freedom), and the test examples, which all seeds share, so that more seeds do not average it out.
    One seed shows nothing of the first, and its own interval is passed on.

    Args:
        ceiling: the largest possible value; the smallest is 0.
    """
    if not runs:
        return None
    values = [value for value, _, _ in runs]
    mean = fmean(values)
    below = fmean(max(value - low, 0.0) if low is not None else 0.0 for value, low, _ in runs)
    above = fmean(max(high - value, 0.0) if high is not None else 0.0 for value, _, high in runs)
    seeds = _t975(len(runs) - 1) * stdev(values) / math.sqrt(len(runs)) if len(runs) > 1 else 0.0
    low, high = mean - math.hypot(below, seeds), mean + math.hypot(above, seeds)
    return Estimate(mean, max(low, min(0.0, mean)), min(high, max(ceiling, mean)), min(values), max(values), len(runs))


@dataclass(frozen=True)
class Group:
    """The finished runs of one memory on one task that differ only in their seed.

    Attributes:
        label: the memory as the user wrote it, with what sets it apart where the same memory was run in two ways.
        beside_best: by how much it scores more than the best of the groups, question by question; None for the best,
            and where questions cannot be paired.
    """

    label: str
    records: tuple[Record, ...]
    beside_best: Estimate | None = None

    @property
    def first(self) -> Record:
        return self.records[0]

    @cached_property
    def score(self) -> Estimate | None:
        """What memories are judged by; see `Record.score_metric`."""
        return self.metric(self.first.score_metric)

    @property
    def held(self) -> float | None:
        """Bytes that it holds, for each of :attr:`held_for`."""
        return self.cost("bytes_per_passage" if self.first.recalls else "memory_bytes")

    @property
    def held_for(self) -> str:
        return "passage" if self.first.recalls else "sequence"

    def metric(self, name: str) -> Estimate | None:
        """One of the metrics over seeds, None where no run has it."""
        runs = [
            (value, record.metrics.get(f"{name}_low"), record.metrics.get(f"{name}_high"))
            for record in self.records
            if (value := record.metrics.get(name)) is not None
        ]
        return pool(runs, _ceiling(name))

    def cost(self, name: str) -> float | None:
        """The mean over seeds of one of the costs, None where no run has it."""
        values = [value for record in self.records if (value := getattr(record.cost, name)) is not None]
        return fmean(values) if values else None

    def slice(self, name: str, metric: str) -> dict[str, Estimate]:
        """value of the slice -> accuracy or loss on it."""
        return _pooled(((p.value, p) for record in self.records for p in record.slices.get(name, ())), metric)

    def lengths(self, metric: str) -> dict[int, Estimate]:
        return _pooled(((p.length, p) for record in self.records for p in record.lengths), metric)


def group_runs(records: Iterable[Record]) -> list[Group]:
    """The finished final runs of one task, those of the same memory and setting together, in order of appearance."""
    settings: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record.status == "done" and record.purpose == "final":
            settings.setdefault((record.memory, json.dumps(_setting(record), sort_keys=True)), []).append(record)
    by_memory: dict[str, list[list[Record]]] = {}
    for (memory, _), runs in settings.items():
        by_memory.setdefault(memory, []).append(runs)
    return _beside_best(
        [
            Group(memory + apart, tuple(runs))
            for memory, ways in by_memory.items()
            for apart, runs in zip(_what_sets_apart(ways), ways, strict=True)
        ]
    )


def _beside_best(groups: list[Group]) -> list[Group]:
    """The groups, those that answered the very questions of the best one compared with it question by question."""
    able = [group for group in groups if len(group.records) == 1 and group.first.scores and group.score is not None]
    if not able:
        return groups
    best = max(able, key=lambda group: group.score.mean if group.score is not None else 0.0)
    return [
        replace(group, beside_best=_gain(group.first, best.first))
        if group in able and group is not best and group.first.asked == best.first.asked
        else group
        for group in groups
    ]


def _gain(ours: Record, best: Record) -> Estimate:
    found = paired_difference(ours.scores, best.scores)
    return Estimate(found.mean, found.low, found.high, found.mean, found.mean, 1)


def _setting(record: Record) -> dict[str, Any]:
    """All that was decided before the run except its seed, flat; the rate is an outcome of the grid."""
    training = {k: v for k, v in record.training.items() if k not in {"stopped_early_at", "seed", "lr"}}
    flat = {**record.shell, **training, "grid": list(record.lr_grid)}
    layers = {f"layer {i} {k}": v for i, layer in enumerate(record.layers) for k, v in layer.items()}
    return {**flat, **layers}


def _what_sets_apart(ways: list[list[Record]]) -> list[str]:
    settings = [_setting(runs[0]) for runs in ways]
    names = dict.fromkeys(name for setting in settings for name in setting)
    differing = [n for n in names if len({json.dumps(s.get(n), sort_keys=True) for s in settings}) > 1]
    if not differing:
        return ["" for _ in ways]
    return [" (" + ", ".join(f"{n} {s.get(n, '–')}" for n in differing[:3]) + ")" for s in settings]


def _pooled(points: Iterable[tuple[Any, Any]], metric: str) -> dict[Any, Estimate]:
    runs: dict[Any, list[tuple[float, float | None, float | None]]] = {}
    for key, point in points:
        value = getattr(point, metric)
        if value is not None:
            runs.setdefault(key, []).append((value, point.low, point.high))
    estimates = ((key, pool(values, _ceiling(metric))) for key, values in runs.items())
    return {key: estimate for key, estimate in estimates if estimate is not None}


def _ceiling(metric: str) -> float:
    return 1.0 if "accuracy" in metric or "share" in metric or "@" in metric else math.inf


def _t975(freedom: int) -> float:
    """0.975 quantile of Student's t: exact for few degrees of freedom, else Abramowitz & Stegun 26.7.5."""
    if freedom <= len(_T_FEW):
        return _T_FEW[freedom - 1]
    z, v = _Z, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )
