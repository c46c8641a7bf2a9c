"""What a comparison of recall methods shows while it runs: a bar on a terminal, lines elsewhere, JSON if asked for."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from mnemic.comparing.comparison import Event, RecallComparison
from mnemic.report.records import RECALL, Record

__all__ = ["Display"]

_LINE_SECONDS = 15.0  # between two lines about the same method where there is no terminal
_NOTES = 5


class Display:
    """Called with every event; a context, because the bar has to be taken down."""

    def __init__(self, plan: RecallComparison, directory: Path, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(stderr=True, highlight=False)
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=self.console, transient=True, disable=not self.console.is_terminal,
        )  # fmt: skip
        self.line = self.bar.add_task("", start=True)
        self.said = time.monotonic()
        self._introduce(plan, directory)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def __call__(self, event: Event) -> None:
        if event.record is not None:
            self._finished(event.record, " (kept)" if event.kind == "kept" else "")
        elif event.kind == "started":
            self.bar.reset(self.line, description=event.method.text)
            self.said = time.monotonic()
        else:
            self.bar.update(
                self.line, description=f"{event.method.text}: {event.what}", completed=event.done, total=event.of
            )
            if self.bar.disable and time.monotonic() - self.said >= _LINE_SECONDS:
                self.said = time.monotonic()
                self._say(f"{event.method.text}: {event.what}, {event.done:,} of {event.of:,}")

    def _introduce(self, plan: RecallComparison, directory: Path) -> None:
        corpora = plan.corpora
        passages, questions = (sum(len(part) for part in parts) for parts in (
            (corpus.passages for corpus in corpora), (corpus.asked for corpus in corpora)
        ))  # fmt: skip
        conversations = f"{len(corpora)} conversations, " if any(corpus.conversational for corpus in corpora) else ""
        self._say(f"{plan.task}  →  {directory}", style="bold")
        self._say(f"{conversations}{passages:,} passages, {questions:,} questions with known evidence")
        notes = [note for corpus in corpora for note in corpus.notes]
        for note in notes[:_NOTES]:
            self._say(f"note: {note}", style="yellow")
        if len(notes) > _NOTES:
            self._say(f"note: and {len(notes) - _NOTES} more of this kind", style="yellow")

    def _finished(self, record: Record, how: str) -> None:
        score = record.metrics.get(RECALL)
        said = f"{RECALL} {score:.3f}" if score is not None else f"failed: {record.error}"
        self._say(f"{record.memory}: {said}{how}")
        if self.as_json:
            click.echo(json.dumps(_shown(record), ensure_ascii=False))

    def _say(self, line: str, style: str = "") -> None:
        self.console.print(Text(line, style=style), soft_wrap=True)


def _shown(record: Record) -> dict[str, Any]:
    """What `--json` prints for a method."""
    shown: dict[str, Any] = {
        "task": record.task,
        "memory": record.memory,
        "options": dict(record.layers[0]),
        "metrics": record.metrics,
        "cost": record.cost.model_dump(mode="json", exclude_none=True, exclude={"memory_bytes_at"}),
        "run": record.run,
    }
    return shown if record.error is None else shown | {"error": record.error}
