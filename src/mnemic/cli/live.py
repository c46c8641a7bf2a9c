"""What a comparison shows while it runs: a live table on a terminal, lines elsewhere, JSON on stdout if asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mnemic.report.records import Record
from mnemic.training import cost
from mnemic.training.comparison import Comparison
from mnemic.training.config import TUNING_SEED
from mnemic.training.grid import Event
from mnemic.training.runs import RunSpec

__all__ = ["Display", "JsonLines"]

_LINE_SECONDS = 15.0  # between two lines about the same run where there is no terminal


class JsonLines:
    """One object per judged run on stdout."""

    def __call__(self, record: Record) -> None:
        shown: dict[str, Any] = {
            "task": record.task,
            "memory": record.memory,
            "seed": record.seed,
            "lr": record.lr,
            "metrics": record.metrics,
            "cost": record.cost.model_dump(mode="json"),
            "run": record.run,
        }
        if record.status == "failed":
            shown["error"] = record.error
        click.echo(json.dumps(shown, ensure_ascii=False))


@dataclass
class _Row:
    """One memory of the table."""

    parameters: int
    running: dict[str, tuple[RunSpec, dict[str, Any]]] = field(default_factory=dict)
    finished: int = 0
    rates: list[tuple[float, str]] = field(default_factory=list)
    judged: list[Record] = field(default_factory=list)
    failed: int = 0


class Display:
    """Called with every event of a grid; a context, because the live table has to be taken down."""

    def __init__(self, plan: Comparison, directory: Path, on_judged: Callable[[Record], None] | None = None) -> None:
        self.plan, self.on_judged = plan, on_judged
        self.console = Console(stderr=True, highlight=False)
        self.live = Live(console=self.console, auto_refresh=False, transient=True) if self.console.is_terminal else None
        self.began = time.monotonic()
        self.kept = 0
        self.said: dict[str, float] = {}
        self.warned: set[str] = set()
        self.rows = {memory: _Row(self._parameters(memory)) for memory in plan.memories}
        self._introduce(directory)

    def __enter__(self) -> Self:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def __call__(self, event: Event) -> None:
        row = self.rows[event.spec.memory]
        if event.kind in ("started", "progress"):
            row.running[event.spec.id] = (event.spec, event.progress or {})
        elif event.record is not None:
            row.running.pop(event.spec.id, None)
            row.finished += 1
            self.kept += event.kind == "kept"
            self._finished(row, event.record)
        self._warn(event)
        if self.live is not None:
            self.live.update(self._table(), refresh=True)
        else:
            self._line(event)

    def _warn(self, event: Event) -> None:
        """Said once each: a run that is started again, a tracker that failed."""
        name = f"{event.spec.memory}, {_what(event.spec)}"
        if event.kind == "retried":
            self._say(f"{name}: {event.why}; it is started again")
        for warning in (event.progress or {}).get("warnings", ()):
            if warning not in self.warned:
                self.warned.add(warning)
                self._say(f"{name}: {warning}")

    def _finished(self, row: _Row, record: Record) -> None:
        if record.status == "failed":
            row.failed += 1
        elif record.purpose == "search" and record.lr is not None:
            row.rates.append((record.lr, _score(record.metrics)))
        if record.purpose == "final":
            if record.status == "done":
                row.judged.append(record)
            if self.on_judged is not None:
                self.on_judged(record)

    def _introduce(self, directory: Path) -> None:
        plan, shell, training = self.plan, self.plan.shell, self.plan.training
        example = plan.judged_run(plan.memories[0], plan.seeds[0], plan.lr_grid[0])
        rates = ", ".join(f"{lr:g}" for lr in plan.lr_grid)
        choice = f"learning rate chosen from {rates} on validation rows (seed {TUNING_SEED})"
        stops = training.stop_at is not None and plan.task.chance is not None
        stop = f", or validation accuracy {training.stop_at:g}" if stops else ""
        conv = "their own convolutions" if shell.conv is None else f"convolution {shell.conv or 'none'}"
        self._say(f"{plan.task.spec()}  →  {directory}", style="bold")
        self._say(
            f"shell: {shell.depth} layers of width {shell.width}, feed-forward {example.model.feed_forward or 'none'}, "
            f"{conv}, init {example.model.resolved_init}, embeddings {'tied' if shell.tied else 'untied'}"
        )
        self._say(
            f"budget: {training.steps} steps of {training.batch_size} rows{stop}; "
            + (choice if len(plan.lr_grid) > 1 else f"learning rate {rates}")
        )
        row = plan.task.sample("valid", 1)
        self._say("example: " + " ".join(plan.task.render(row)[0].text.split()), one_line=True)
        self._say("parameters: " + ", ".join(f"{memory} {row.parameters:,}" for memory, row in self.rows.items()))

    def _parameters(self, memory: str) -> int:
        import torch

        from mnemic.models import MnemicForCausalLM

        with torch.device("meta"):
            return cost.parameters(MnemicForCausalLM(self.plan.judged_run(memory, 0, self.plan.lr_grid[0]).model))

    def _table(self) -> Group:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for head in ("memory", "now", "", "step", "valid", "tried", "test"):
            table.add_column(head, justify="right" if head in ("step", "valid") else "left", no_wrap=head != "tried")
        for memory, row in self.rows.items():
            tried = "  ".join(f"{lr:g} {score}" for lr, score in row.rates) + ("  [red]failed[/]" if row.failed else "")
            test = "  ".join(_score(record.metrics) for record in row.judged)
            if not row.running:
                is_over = row.finished == self.plan.run_count() // len(self.rows)
                table.add_row(memory, "done" if is_over else "waiting", "", "", "", tried, test)
            for index, (spec, progress) in enumerate(row.running.values()):
                step, steps = progress.get("step", 0), spec.training.steps
                bar = ProgressBar(total=steps, completed=step, width=16)
                first = index == 0
                table.add_row(
                    memory if first else "", _what(spec), bar, f"{step}/{steps}", _running_score(progress),
                    tried if first else "", test if first else "",
                )  # fmt: skip
        return Group(table, Text(self._summary(), style="dim"))

    def _summary(self) -> str:
        done, total = sum(row.finished for row in self.rows.values()), self.plan.run_count()
        elapsed = time.monotonic() - self.began
        said = f"{done} of {total} runs done, {_duration(elapsed)}"
        left = self._seconds_left(elapsed)
        return said + (f", about {_duration(left)} left" if left is not None else "")

    def _seconds_left(self, elapsed: float) -> float | None:
        """By the share of the steps that are done; runs that stop early make it shorter."""
        done = float(sum(row.finished for row in self.rows.values()) - self.kept)
        for row in self.rows.values():
            done += sum(progress.get("step", 0) / spec.training.steps for spec, progress in row.running.values())
        total = self.plan.run_count() - self.kept
        return elapsed * (total - done) / done if done > 0.02 * total else None

    def _line(self, event: Event) -> None:
        """What a log gets: the end of every run, and now and then where the others are."""
        spec, record, now = event.spec, event.record, time.monotonic()
        name = f"{spec.memory}, {_what(spec)}"
        if record is not None:
            said = f"failed: {record.error}" if record.status == "failed" else self._result(record)
            self._say(f"{name}: {said}{' (kept)' if event.kind == 'kept' else ''}; {self._summary()}")
        elif event.kind == "progress" and now - self.said.setdefault(spec.id, now) >= _LINE_SECONDS:
            self.said[spec.id] = now
            progress = event.progress or {}
            where = f"step {progress.get('step')} of {spec.training.steps}, {_running_score(progress)}"
            self._say(f"{name}: {where}; {self._summary()}")

    @staticmethod
    def _result(record: Record) -> str:
        rows = "validation" if record.purpose == "search" else "test"
        stopped = record.training.get("stopped_early_at")
        return f"{rows} {_score(record.metrics)}" + (f" after {stopped} steps" if stopped else "")

    def _say(self, line: str, style: str = "", *, one_line: bool = False) -> None:
        if one_line:
            self.console.print(Text(line, style=style), no_wrap=True, overflow="ellipsis")
        else:
            self.console.print(Text(line, style=style), soft_wrap=True)


def _what(spec: RunSpec) -> str:
    return f"lr {spec.training.lr:g}" if spec.purpose == "search" else f"seed {spec.training.seed}"


def _score(metrics: Any) -> str:
    accuracy, loss = metrics.get("accuracy"), metrics.get("loss")
    return f"{accuracy:.3f}" if accuracy is not None else f"loss {loss:.3f}" if loss is not None else "–"


def _running_score(progress: dict[str, Any]) -> str:
    if progress.get("phase") == "testing":
        return "measuring"
    for name, form in (("valid_accuracy", "{:.3f}"), ("valid_loss", "loss {:.3f}"), ("train_loss", "loss {:.3f}")):
        if progress.get(name) is not None:
            return form.format(progress[name])
    return "starting"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
