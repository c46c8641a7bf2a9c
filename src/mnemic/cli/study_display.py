"""What a study shows while it runs, on stderr: a bar for each run on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from mnemic.report.records import Record
from mnemic.report.units import score_text
from mnemic.studies.measuring import Measuring
from mnemic.training.grid import Event
from mnemic.training.runs import RunSpec

__all__ = ["StudyDisplay"]

_LINE_SECONDS = 20.0  # between two lines about the same run where there is no terminal


class StudyDisplay:
    """Told of every event of a study's runs."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.began = time.monotonic()
        self.queued, self.finished = 0, 0
        self.said: dict[str, float] = {}
        self.bars: dict[str, TaskID] = {}
        columns = (
            "{task.description}",
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}"),
        )
        self.progress = Progress(
            *columns, TimeElapsedColumn(), console=self.console, transient=True, disable=not self.console.is_terminal
        )
        self.whole = self.progress.add_task("[bold]runs", total=None, now="")

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def __call__(self, event: Event | Measuring) -> None:
        if isinstance(event, Measuring):
            self._measuring(event)
            return
        spec, record = event.spec, event.record
        if event.kind == "queued":
            self.queued += 1
        elif record is not None:
            self.queued += event.kind == "kept"
            self.finished += 1
            if (bar := self.bars.pop(spec.id, None)) is not None:
                self.progress.remove_task(bar)
            self._say(f"{_name(spec)}: {_outcome(record)}{' (kept)' if event.kind == 'kept' else ''}; {self._where()}")
        else:
            self._running(spec, event.progress or {})
        self.progress.update(self.whole, total=self.queued, completed=self.finished)

    def _measuring(self, now: Measuring) -> None:
        what, done, of = now.what, now.done, now.of
        if self.console.is_terminal:
            self.progress.update(self.whole, description="[bold]measuring", total=of, completed=done, now=escape(what))
        elif done == of or time.monotonic() - self.said.setdefault("measuring", 0.0) >= _LINE_SECONDS:
            self.said["measuring"] = time.monotonic()
            self._say(f"measuring: {what}; {done} of {of}")

    def _running(self, spec: RunSpec, progress: dict[str, object]) -> None:
        step, steps, now = progress.get("step", 0), spec.training.steps, _score(progress)
        assert isinstance(step, int)
        if self.console.is_terminal:
            if spec.id not in self.bars:
                self.bars[spec.id] = self.progress.add_task(escape(_name(spec)), total=steps, now="")
            self.progress.update(self.bars[spec.id], completed=step, now=now)
        elif time.monotonic() - self.said.setdefault(spec.id, time.monotonic()) >= _LINE_SECONDS:
            self.said[spec.id] = time.monotonic()
            self._say(f"{_name(spec)}: step {step} of {steps}, {now}; {self._where()}")

    def _where(self) -> str:
        minutes, seconds = divmod(round(time.monotonic() - self.began), 60)
        return f"{self.finished} of {self.queued} runs, {minutes} min {seconds:02d} s"

    def _say(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)


def _name(spec: RunSpec) -> str:
    what = f"lr {spec.training.lr:g}" if spec.purpose == "search" else f"seed {spec.training.seed}"
    task = spec.task.name if spec.task.chance is None else spec.task.spec()
    return f"{spec.memory}, width {spec.shell.width}, {task}, {what}"


def _outcome(record: Record) -> str:
    if record.status == "failed":
        return f"failed: {record.error}"
    stopped = record.training.get("stopped_early_at")
    rows = "validation" if record.purpose == "search" else "test"
    return f"{rows} {_score(record.metrics)}" + (f" after {stopped} steps" if stopped else "")


def _score(metrics: object) -> str:
    assert isinstance(metrics, dict)
    for name in ("accuracy", "valid_accuracy"):
        if metrics.get(name) is not None:
            return score_text(metrics[name])
    for name in ("loss", "valid_loss", "train_loss"):
        if metrics.get(name) is not None:
            return f"loss {score_text(metrics[name])}"
    return "starting"
