"""What a fine-tuning shows while it runs: a bar on a terminal, lines elsewhere; all on stderr, by one process only."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from mnemic.training.progress import Progress as TrainingProgress

__all__ = ["TrainingDisplay"]

_LINE_SECONDS = 5.0


class TrainingDisplay:
    """Takes what a fine-tuning says; a context, because the bar has to be taken down.

    Args:
        records: what the rows are made of, in one word.
    """

    def __init__(self, records: str) -> None:
        self._records = records
        self._console = Console(stderr=True, highlight=False, quiet=os.environ.get("RANK", "0") != "0")
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[said]}"), TimeRemainingColumn(),
            console=self._console, transient=True, disable=not self._console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task(records, total=None, said="")
        self._said_at = time.monotonic()
        self._evaluated: int | None = None
        self._stage = ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def tokenised(self, records: int) -> None:
        self._bar.update(self._task, description=f"tokenising {self._records}", completed=records, total=None)
        self._line(f"tokenised {records:,} {self._records}")

    def stage(self, name: str) -> None:
        self._stage, self._evaluated = name, None
        self._bar.reset(self._task, description=f"stage {name}", total=None, said="")
        self.note(f"stage {name}")

    def step(self, progress: TrainingProgress) -> None:
        numbers = {"train": progress.train_loss, "held out": progress.valid_loss, "score": progress.valid_accuracy}
        said = ", ".join(f"{name} {value:.3f}" for name, value in numbers.items() if value is not None)
        self._bar.update(self._task, completed=progress.step, total=progress.steps, said=said)
        is_new = progress.evaluated_at != self._evaluated
        self._evaluated = progress.evaluated_at
        self._line(f"stage {self._stage}, step {progress.step} of {progress.steps}: {said}", at_once=is_new)

    def _line(self, text: str, *, at_once: bool = False) -> None:
        if self._console.is_terminal or not (at_once or time.monotonic() - self._said_at >= _LINE_SECONDS):
            return
        self._said_at = time.monotonic()
        self.note(text)
