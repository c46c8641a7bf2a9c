"""What a study is: models trained side by side, and a paper's claims judged by what was measured on them.

A study is a function `study(scale, seed, directory, on_event, *, jobs, search) -> StudyResult`. It names its models as
arms, lets `run_arms` train them, and turns the records into claims and figures by functions of the records alone.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from mnemic.errors import UsageError
from mnemic.report.claims import Claim
from mnemic.report.figure import Chart
from mnemic.report.records import Record
from mnemic.report.sheets import Sheet
from mnemic.tasks.base import TaskConfig
from mnemic.training.comparison import best_rate
from mnemic.training.config import TUNING_SEED, TrainConfig
from mnemic.training.grid import OnEvent, run_grid
from mnemic.training.runs import RunSpec
from mnemic.training.shell import Shell

__all__ = [
    "LR_GRID",
    "Arm",
    "Scale",
    "StudyResult",
    "accuracy",
    "check_start",
    "judge",
    "metric",
    "run_arms",
]

Scale = Literal["laptop", "gpu"]
LR_GRID = (1e-3, 3e-3, 1e-2)
_TUNING_SEEDS = range(TUNING_SEED, TUNING_SEED + 10)


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    Attributes:
        claims: in the order in which they are told.
        records: the judged runs, from which everything else was made.
        figures: for the report, beside those that it draws of every task.
        sheets: the study's own tables.
    """

    claims: tuple[Claim, ...]
    records: tuple[Record, ...]
    figures: tuple[Chart, ...] = ()
    sheets: tuple[Sheet, ...] = ()

    @property
    def holds(self) -> bool:
        return all(claim.holds for claim in self.claims)


@dataclass(frozen=True)
class Arm:
    """One model on one task.

    Attributes:
        label: its name in tables and charts.
        layers: {"mixer": name, ...options} per layer, or a pattern that repeats up to the depth.
        training: its learning rate is the one chosen on the tuning seed; the seed is set by the study.
        lr_grid: where that rate was chosen from.
    """

    label: str
    task: TaskConfig
    layers: tuple[dict[str, Any], ...]
    training: TrainConfig
    shell: Shell = field(default_factory=Shell)
    lr_grid: tuple[float, ...] = LR_GRID
    test_rows: int = 1000

    def judged_run(self, seed: int, lr: float | None = None, command: str = "") -> RunSpec:
        chosen = self.training.lr if lr is None else lr
        on_edge = len(self.lr_grid) > 1 and chosen in (min(self.lr_grid), max(self.lr_grid))
        return self._run("final", seed, chosen, on_edge, command)

    def search_runs(self, command: str = "") -> list[RunSpec]:
        return [self._run("search", TUNING_SEED, lr, False, command) for lr in self.lr_grid]

    def _run(self, purpose: Literal["final", "search"], seed: int, lr: float, on_edge: bool, command: str) -> RunSpec:
        spec = RunSpec(
            self.task, self.label, self.shell, self.training, purpose, self.test_rows, self.layers,
            self.lr_grid, on_edge, command,
        )  # fmt: skip
        return spec.with_training(seed=seed, lr=lr)


def run_arms(
    arms_of: Callable[[int], Mapping[str, Arm]],
    seed: int,
    directory: Path,
    on_event: OnEvent | None = None,
    *,
    jobs: int | None = None,
    search: bool = False,
    command: str = "",
) -> dict[str, Record]:
    """Train every arm and return its judged run, done or failed, by the arm's key.

    Args:
        arms_of: the arms for a seed; only what is drawn with the seed, such as a generated text, may differ.
        search: choose the learning rates anew with TUNING_SEED instead of taking the arms' own. An arm whose every
            rate failed gives the last failure.
    """
    arms = arms_of(seed)
    if not search:
        judged = {key: arm.judged_run(seed, command=command) for key, arm in arms.items()}
        records = {record.run: record for record in run_grid(list(judged.values()), directory, jobs, on_event)}
        return {key: records[spec.id] for key, spec in judged.items()}
    tuned = {key: arm.search_runs(command) for key, arm in arms_of(TUNING_SEED).items()}
    key_of = {spec.id: key for key, specs in tuned.items() for spec in specs}
    tried: dict[str, list[Record]] = {key: [] for key in arms}
    found: dict[str, Record] = {}
    judged_key: dict[str, str] = {}

    def follow_up(spec: RunSpec, record: Record) -> list[RunSpec]:
        if spec.purpose == "final":
            found[judged_key[spec.id]] = record
            return []
        key = key_of[spec.id]
        tried[key].append(record)
        rate = best_rate(tried[key], arms[key].training.stop_at) if len(tried[key]) == len(tuned[key]) else None
        if rate is None:
            found[key] = record
            return []
        chosen = arms[key].judged_run(seed, rate, command)
        judged_key[chosen.id] = key
        return [chosen]

    run_grid([spec for specs in tuned.values() for spec in specs], directory, jobs, on_event, follow_up)
    return found


def check_start(scale: Scale, seeds: Iterable[int], *, no_search: str | None = None) -> None:
    """
    Args:
        no_search: why rates cannot be searched, where that was asked for.

    Raises:
        UsageError: a seed that may not judge, a search, or `scale` is gpu and there is none.
    """
    for seed in seeds:
        if seed in _TUNING_SEEDS:
            raise UsageError(
                f"seed {seed} chooses rates and steps, as all from {TUNING_SEED} to {_TUNING_SEEDS[-1]} do, so it "
                "cannot judge them; take another"
            )
        if seed < 0:
            raise UsageError(f"seed {seed} must be at least 0")
    if no_search is not None:
        raise UsageError(no_search)
    if scale == "gpu" and not torch.cuda.is_available():
        raise UsageError("--scale gpu needs a CUDA device; --scale laptop does without")


def metric(record: Record, name: str) -> float:
    """One of a run's metrics, nan where it has none: no threshold holds for nan."""
    value = record.metrics.get(name)
    return math.nan if value is None else value


def accuracy(record: Record) -> float:
    return metric(record, "accuracy")


def judge(
    text: str, published: str, asked: str, measured: float | str, holds: bool, runs: Sequence[Record] = ()
) -> Claim:
    """A claim with its verdict; it does not hold where a run that it rests on failed.

    Args:
        asked: the threshold, in words.
        runs: what it rests on.
    """
    failed = [record for record in runs if record.status == "failed"]
    if failed:
        why = "; ".join(f"{record.memory} failed: {record.error}" for record in failed)
        return Claim(text=text, published=published, measured=why, threshold=asked, holds=False)
    if isinstance(measured, float) and math.isnan(measured):
        return Claim(text=text, published=published, measured="not measured", threshold=asked, holds=False)
    return Claim(text=text, published=published, measured=measured, threshold=asked, holds=holds)
