"""A fine-tuning in a folder of its own, whatever is taught: its stages, and what they leave.

run/
  run.json                  what decides the run, so that a folder is not mixed
  1-full/, 2-memento/ …     a stage: checkpoints/ while it trains, best/, done.json when it is over
  metrics.jsonl             one line per evaluation
  results.jsonl             one record per stage; report.html is made from it
  model/                    the last stage's best weights, exported

Every stage builds its model anew and reads the best weights from the disk, so a killed run goes on as it would have.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from accelerate import PartialState
from torch import nn

from mnemic.errors import UsageError
from mnemic.report.document import write_document
from mnemic.report.records import append_record, read_records
from mnemic.teaching.fine_tuning_page import fine_tuning_page
from mnemic.teaching.fine_tuning_record import MetricsFile, stage_record
from mnemic.teaching.json_file import write_json
from mnemic.teaching.teaching_rows import TeachingRows
from mnemic.teaching.tuning_options import FREE, RunOptions
from mnemic.training import checkpoint
from mnemic.training.config import TrainConfig
from mnemic.training.loop import Judge, train
from mnemic.training.progress import OnProgress, ShouldStop

__all__ = ["Beginning", "FineTuned", "StageResult", "TuningRun"]


@dataclass(frozen=True)
class StageResult:
    """
    Attributes:
        name: number, and what is taught.
        curve: one point per evaluation.
        best: the point whose weights were kept.
        rows, packed: training rows, and how many they are after packing.
        dropped: reason -> records that gave no row.
        steps: done.
        seconds: spent in training steps.
    """

    name: str
    curve: list[dict[str, Any]]
    best: dict[str, Any]
    rows: int
    packed: int
    dropped: dict[str, int]
    steps: int
    seconds: float


@dataclass(frozen=True)
class FineTuned:
    """
    Attributes:
        stages: in order.
        model: folder of the export.
    """

    stages: list[StageResult]
    model: Path


@dataclass(frozen=True)
class Beginning:
    """What a stage begins with: a model in which the stage before is loaded, and what is done with it."""

    model: nn.Module
    rows: TeachingRows[Any]
    training: TrainConfig
    judge: Judge | None = None


class TuningRun:
    """
    Args:
        name: of the model, for the record.
        on_stage: told which stage begins.
        command: that started it.
    """

    def __init__(
        self,
        directory: Path,
        device: Literal["auto", "cpu"],
        *,
        name: str = "",
        on_stage: Callable[[str], None] | None = None,
        on_progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
        command: str = "",
    ) -> None:
        self.directory, self.name, self.command = directory, name, command
        self.on_stage, self.on_progress, self.should_stop = on_stage, on_progress, should_stop
        self.state = PartialState(cpu=device == "cpu")
        self.is_main: bool = self.state.is_main_process
        self.stages: list[StageResult] = []

    @property
    def on_accelerator(self) -> bool:
        return bool(self.state.device.type != "cpu")

    def claim(self, config: RunOptions, decides: Mapping[str, Any], *, resume: bool) -> None:
        """See that the folder is of this very run, or that no run has begun in it.

        Args:
            decides: what does beside model and config: the records.

        Raises:
            UsageError: it holds another run, or this one and `resume` is not set.
        """
        path = self.directory / "run.json"
        options = config.model_dump(mode="json", exclude=set(FREE))
        mine = {"model": self.name, **decides, "config": options}
        has_begun = path.is_file() and any(self.directory.glob("[0-9]*-*"))
        if has_begun:
            there = json.loads(path.read_text(encoding="utf-8"))
            if there != mine:
                other = ", ".join(_differing(mine, there))
                raise UsageError(f"'{self.directory}' holds a run with another {other}; name another folder")
            if not resume:
                raise UsageError(f"'{self.directory}' already holds this run; resume it, or name another folder")
        self.state.wait_for_everyone()
        if self.is_main and not has_begun:
            write_json(path, mine)

    def stage(self, taught: str, begin: Callable[[], Beginning]) -> Path:
        """Train the next stage, or read what came of it if it is over; its folder.

        Args:
            taught: what it teaches, in one word.

        Raises:
            MnemicError: a step failed, see `train`.
            Interrupted: it was asked to stop.
        """
        folder = self.directory / f"{len(self.stages) + 1}-{taught}"
        if self.on_stage is not None:
            self.on_stage(folder.name)
        done = folder / "done.json"
        if done.is_file():
            self.stages.append(StageResult(**json.loads(done.read_text(encoding="utf-8"))))
        else:
            self.stages.append(self._train(folder, begin()))
        return folder

    def finish(self, save: Callable[[Path], None], source: str) -> FineTuned:
        """Let the main process write the model, once, and the page about it.

        Args:
            save: writes the model into a folder.
            source: name of the records.
        """
        target = self.directory / "model"
        if self.is_main and not (target / "config.json").is_file():
            save(target)
            title = f"mnemic: {self.name or 'a model'} taught by {source}"
            page = fine_tuning_page(read_records(self.directory / "results.jsonl"), title)
            write_document(page, self.directory / "report.html")
        self.state.wait_for_everyone()
        return FineTuned(self.stages, target)

    def _train(self, folder: Path, begun: Beginning) -> StageResult:
        rows, model = begun.rows, begun.model
        metrics = MetricsFile(self.directory / "metrics.jsonl", folder.name, self.on_progress, writes=self.is_main)
        result = train(
            model, rows, begun.training, folder, resume=True, keep_best=True, judge=begun.judge,
            on_progress=metrics, should_stop=self.should_stop,
        )  # fmt: skip
        found = StageResult(
            name=folder.name,
            curve=result.curve,
            best=json.loads((folder / "best" / "best.json").read_text(encoding="utf-8")),
            rows=len(rows.rows) - rows.held_out,
            packed=rows.epoch,
            dropped=dict(rows.rows.dropped),
            steps=result.steps,
            seconds=result.seconds,
        )
        if self.is_main:
            record = stage_record(
                folder.name, rows, begun.training, model, result, found.best, self.name, self.command
            )  # fmt: skip
            append_record(self.directory / "results.jsonl", record)
            write_json(folder / "done.json", vars(found))
            checkpoint.discard(folder / "checkpoints")
        self.state.wait_for_everyone()
        return found


def _differing(mine: dict[str, Any], there: dict[str, Any]) -> list[str]:
    """Names of what two runs do not share, options by their own names."""
    names = []
    for key, value in mine.items():
        other = there.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            names += [name for name in value if other.get(name) != value[name]]
        elif other != value:
            names.append(key)
    return names
