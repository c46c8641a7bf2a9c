"""Memories under one budget: a learning rate chosen for each on validation rows, then the judged runs on test rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mnemic.errors import UsageError
from mnemic.options import validated
from mnemic.report.records import Record, append_record, read_records
from mnemic.tasks.base import TaskConfig
from mnemic.training.baselines import baseline_records
from mnemic.training.config import TUNING_SEED, TrainConfig
from mnemic.training.grid import OnEvent, run_grid
from mnemic.training.runs import RunSpec, results_path
from mnemic.training.shell import Shell

__all__ = ["Comparison", "best_rate", "compare"]


@dataclass(frozen=True)
class Comparison:
    """What is compared, and what is held equal.

    Attributes:
        memories: as `shell.layers_of` reads them.
        seeds: of the judged runs; the learning rate is chosen with TUNING_SEED.
        lr_grid: one value is taken without a search.
        training: of every run; its seed and lr are set here.
        track: trackers, told of every run.
    """

    task: TaskConfig
    memories: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    lr_grid: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    shell: Shell = field(default_factory=Shell)
    training: TrainConfig = field(default_factory=TrainConfig)
    test_rows: int = 1000
    command: str = ""
    track: tuple[str, ...] = ()

    def check(self) -> None:
        """
        Raises:
            UsageError: something is named twice or not at all, a seed is the tuning seed, or a model cannot be built.
        """
        for what, values in (("memory", self.memories), ("seed", self.seeds), ("learning rate", self.lr_grid)):
            if not values:
                raise UsageError(f"there is no {what} to compare")
            twice = [value for value in values if values.count(value) > 1]
            if twice:
                raise UsageError(f"{what} {twice[0]} is given twice")
        if TUNING_SEED in self.seeds:
            raise UsageError(f"seed {TUNING_SEED} chooses the learning rates, so it cannot judge them; take another")
        for lr in self.lr_grid:
            self._training(self.seeds[0], lr)
        for memory in self.memories:
            self.judged_run(memory, self.seeds[0], self.lr_grid[0]).check()

    def first_runs(self) -> list[RunSpec]:
        """The search of every memory, or its judged runs where there is nothing to choose."""
        if len(self.lr_grid) == 1:
            return [self.judged_run(memory, seed, self.lr_grid[0]) for memory in self.memories for seed in self.seeds]
        return [self.search_run(memory, lr) for memory in self.memories for lr in self.lr_grid]

    def run_count(self) -> int:
        searched = len(self.lr_grid) if len(self.lr_grid) > 1 else 0
        return len(self.memories) * (searched + len(self.seeds))

    def search_run(self, memory: str, lr: float) -> RunSpec:
        training = self._training(TUNING_SEED, lr)
        return RunSpec(
            self.task,
            memory,
            self.shell,
            training,
            "search",
            self.test_rows,
            lr_grid=self.lr_grid,
            command=self.command,
            track=self.track,
        )

    def _training(self, seed: int, lr: float) -> TrainConfig:
        return validated("training", TrainConfig, {**self.training.model_dump(), "seed": seed, "lr": lr})

    def judged_run(self, memory: str, seed: int, lr: float) -> RunSpec:
        training = self._training(seed, lr)
        on_edge = len(self.lr_grid) > 1 and lr in (min(self.lr_grid), max(self.lr_grid))
        return RunSpec(
            self.task, memory, self.shell, training, "final", self.test_rows,
            lr_grid=self.lr_grid, lr_on_edge=on_edge, command=self.command, track=self.track,
        )  # fmt: skip


def compare(
    plan: Comparison,
    directory: Path,
    jobs: int | None = None,
    on_event: OnEvent | None = None,
    *,
    on: str = "local",
) -> list[Record]:
    """Run a comparison and return the records of its judged runs; `on`: where they run, see `run_grid`.

    A memory's judged runs start as soon as its own search is over. A memory whose every learning rate failed is not
    judged; its failed searches are in `results.jsonl`.
    """
    plan.check()
    searched: dict[str, list[Record]] = {memory: [] for memory in plan.memories}

    def judge(spec: RunSpec, record: Record) -> list[RunSpec]:
        if spec.purpose == "final":
            return []
        of_memory = searched[spec.memory]
        of_memory.append(record)
        rate = best_rate(of_memory, plan.training.stop_at) if len(of_memory) == len(plan.lr_grid) else None
        return [] if rate is None else [plan.judged_run(spec.memory, seed, rate) for seed in plan.seeds]

    records = run_grid(plan.first_runs(), directory, jobs, on_event, judge, on=on)
    path = results_path(directory)
    known = {record.run for record in read_records(path)}
    for seed in plan.seeds:
        for baseline in baseline_records(plan.task, plan.test_rows, seed, plan.command):
            if baseline.run not in known:
                append_record(path, baseline)
    return [record for record in records if record.purpose == "final"]


def best_rate(searched: Sequence[Record], stop_at: float | None = None) -> float | None:
    """The learning rate with the best validation accuracy, or the lowest loss on text; None where all failed.

    Runs that reached `stop_at` are equals in accuracy, for they were stopped there: the fewest steps win. Other ties go
    to the lower loss.
    """
    finished = [record for record in searched if record.status == "done" and record.lr is not None]

    def badness(record: Record) -> tuple[float, float, float]:
        loss = _or_worst(record.metrics.get("loss"))
        accuracy = record.metrics.get("accuracy")
        if accuracy is None:
            return (loss, 0.0, 0.0)
        stopped = record.training.get("stopped_early_at")
        if stop_at is not None and stopped is not None:
            return (-stop_at, float(stopped), loss)
        return (-min(accuracy, stop_at or 1.0), float(record.training["steps"]), loss)

    return min(finished, key=badness).lr if finished else None


def _or_worst(value: float | None) -> float:
    return float("inf") if value is None else value
