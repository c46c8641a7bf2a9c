"""What recall methods found, as records, tables and comparisons; recall is told in percent."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from mnemic.intervals import Interval, mean_interval, paired_difference
from mnemic.report.claims import Claim
from mnemic.report.records import Cost, Record, SlicePoint, append_record, read_records
from mnemic.report.sheets import Sheet
from mnemic.storage.evaluating import Evaluation
from mnemic.studies.base import judge
from mnemic.studies.retrieval import RecallArm
from mnemic.studies.retrieval_data import Data
from mnemic.training import provenance
from mnemic.training.runs import now, results_path

__all__ = ["Found", "by_kind", "percent", "recall_sheet"]

_SHOWN = ("recall@1", "recall@2", "recall@5", "recall@10", "all@5")


class Found:
    """What every arm found, by its key.

    Args:
        seed: of the resamples behind every interval.
    """

    def __init__(self, arms: Mapping[str, RecallArm], asked: Mapping[str, Evaluation], data: Data, seed: int) -> None:
        self.arms, self.asked, self.data, self.seed = arms, asked, data, seed

    def interval(self, key: str, metric: str = "recall@5", kind: str | None = None) -> Interval:
        """Mean over the questions that have the metric, of one kind or of all."""
        return mean_interval(self.values(key, metric, kind), self.seed)

    def mean(self, key: str, metric: str = "recall@5", kind: str | None = None) -> float:
        return self.interval(key, metric, kind).mean

    def gain(self, ours: str, theirs: str, metric: str = "recall@5", kind: str | None = None) -> Interval:
        """By how much `ours` is better, question by question."""
        return paired_difference(self.values(ours, metric, kind), self.values(theirs, metric, kind), self.seed)

    def values(self, key: str, metric: str, kind: str | None = None) -> list[float]:
        """Of each question. "all recall@5" is that of questions with an answer and of those without together."""
        either = metric.removeprefix("all ")
        names = (metric,) if either == metric else (either, f"unanswerable_{either}")
        asked = [one for one in self.asked[key].asked if kind is None or one.kind == kind]
        return [one.values[name] for one in asked for name in names if name in one.values]

    def kinds(self) -> list[str]:
        """Of the questions that have an answer."""
        first = next(iter(self.asked.values()))
        return sorted({one.kind for one in first.asked if one.kind and "recall@5" in one.values})

    def told(self, ours: str, theirs: str, metric: str = "recall@5", kind: str | None = None) -> str:
        """Both means, the gain and its interval, in words."""
        gain = self.gain(ours, theirs, metric, kind)
        return (
            f"{percent(self.mean(ours, metric, kind))} beside {percent(self.mean(theirs, metric, kind))}: "
            f"{_signed(gain.mean)} [{_signed(gain.low)}, {_signed(gain.high)}]"
        )

    def claim(
        self, text: str, published: str, ours: str, theirs: str, points: float, metric: str = "recall@5"
    ) -> Claim:
        """Holds when `ours` is at least so many points better on average."""
        asked = f"at least {points:g} points more" if points else "no less"
        gain = self.gain(ours, theirs, metric).mean
        return judge(text, published, asked, self.told(ours, theirs, metric), 100 * gain >= points - 1e-9)

    def records(self, directory: Path, command: str) -> tuple[Record, ...]:
        """One for each arm, appended to the folder's results where they are not there yet."""
        path = results_path(directory)
        there = {record.run: record for record in read_records(path)}
        found = []
        for key in self.arms:
            record = self._record(key, command)
            kept = there.get(record.run)
            if kept is None or kept.versions != record.versions:
                append_record(path, record)
                kept = record
            found.append(kept)
        return tuple(found)

    def _record(self, key: str, command: str) -> Record:
        arm, asked, stamp = self.arms[key], self.asked[key], now()
        name = json.dumps([self.data.digest, arm.settings, self.seed], sort_keys=True)
        metrics: dict[str, float | None] = {}
        for metric, interval in asked.summary(self.seed).items():
            metrics |= {metric: interval.mean, f"{metric}_low": interval.low, f"{metric}_high": interval.high}
        return Record(
            run=hashlib.sha256(name.encode()).hexdigest()[:12],
            task=self.data.name,
            task_config={"questions": self.data.questions, "files": self.data.digest},
            memory=arm.label if arm.encoder == "minilm" else f"{arm.label} ({arm.encoder})",
            places=("storage",),
            layers=({"mixer": arm.method, **{k: v for k, v in arm.settings.items() if k != "method"}},),
            seed=self.seed,
            metrics=metrics,
            slices={"kind": tuple(self._slice(key, kind) for kind in self.kinds())},
            cost=Cost(read_seconds=asked.median_seconds),
            versions={**provenance.versions(), "code": provenance.digest_of(("storage", "studies"))},
            commit=provenance.commit(),
            hardware=provenance.hardware(torch.device("cpu")),
            command=command,
            started=stamp,
            finished=stamp,
        )

    def _slice(self, key: str, kind: str) -> SlicePoint:
        interval = self.interval(key, kind=kind)
        count = len(self.values(key, "recall@5", kind))
        return SlicePoint(value=kind, count=count, accuracy=interval.mean, low=interval.low, high=interval.high)


def recall_sheet(
    found: Found,
    title: str,
    keys: Sequence[str],
    *,
    against: str,
    note: str,
    reference: Mapping[str, str] | None = None,
    metrics: Sequence[str] = _SHOWN,
) -> Sheet:
    """Recall of some arms, what they gain over one of them, and what was measured before.

    Args:
        reference: R@5 of an earlier measurement, by key; None: there is none.
    """
    names = [metric.replace("recall", "R") for metric in metrics]
    rows = [
        (
            found.arms[key].label,
            *(_spread(found, key, metric) for metric in metrics),
            _gain(found, key, against) if key != against else "–",
            *([reference.get(key, "–")] if reference is not None else []),
        )
        for key in keys
    ]
    head = ("arm", *names, f"R@5 over {found.arms[against].label}")
    return Sheet(title, head if reference is None else (*head, "R@5 before"), tuple(rows), note)


def by_kind(found: Found, title: str, keys: Sequence[str], note: str, names: Mapping[str, str] | None = None) -> Sheet:
    """R@5 of some arms, by what the question asks for.

    Args:
        names: of kinds, as they head a column.
    """
    kinds = found.kinds()
    counts = {kind: len(found.values(keys[0], "recall@5", kind)) for kind in kinds}
    head = ("arm", *(f"{(names or {}).get(kind, kind)} ({counts[kind]})" for kind in kinds))
    rows = [(found.arms[key].label, *(percent(found.mean(key, kind=kind)) for kind in kinds)) for key in keys]
    return Sheet(title, head, tuple(rows), note)


def percent(share: float) -> str:
    """0.643 -> '64.3'."""
    return f"{100 * share:.1f}"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}"


def _spread(found: Found, key: str, metric: str) -> str:
    interval = found.interval(key, metric)
    small = f"\n{percent(interval.low)}–{percent(interval.high)}" if metric == "recall@5" else ""
    return percent(interval.mean) + small


def _gain(found: Found, key: str, against: str) -> str:
    gain = found.gain(key, against)
    return f"{_signed(gain.mean)}\n{_signed(gain.low)} to {_signed(gain.high)}"
