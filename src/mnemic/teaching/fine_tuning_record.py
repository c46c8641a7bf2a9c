"""What a fine-tuning leaves to be read: a line per evaluation, a record per stage."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from torch import nn

from mnemic.report.records import Record
from mnemic.teaching.teaching_rows import TeachingRows
from mnemic.training import provenance
from mnemic.training.config import TrainConfig
from mnemic.training.loop import TrainResult
from mnemic.training.progress import OnProgress, Progress
from mnemic.training.runs import now

__all__ = ["MetricsFile", "stage_record"]


class MetricsFile:
    """Appends a line to metrics.jsonl when there is a new evaluation, and passes progress on.

    A resumed run that evaluates a step again adds no second line for it.
    """

    def __init__(self, path: Path, stage: str, then: OnProgress | None, *, writes: bool) -> None:
        self.path, self.stage, self.then, self.writes = path, stage, then, writes
        self.last = max((line["step"] for line in _lines(path) if line["stage"] == stage), default=0)

    def __call__(self, progress: Progress) -> None:
        step = progress.evaluated_at or 0
        if self.writes and step > self.last:
            line = {
                "stage": self.stage, "step": step, "steps": progress.steps, "time": now(),
                "train_loss": progress.train_loss, "valid_loss": progress.valid_loss,
                "valid_accuracy": progress.valid_accuracy,
            }  # fmt: skip
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
            self.last = step
        if self.then is not None:
            self.then(progress)


def stage_record(
    stage: str,
    rows: TeachingRows[Any],
    training: TrainConfig,
    model: nn.Module,
    result: TrainResult,
    best: dict[str, Any],
    name: str,
    command: str,
) -> Record:
    """A stage as results.jsonl holds runs: its label stands where a comparison has the memory."""
    options = {**training.model_dump(mode="json"), **rows.rows.options.model_dump(mode="json")}
    decides = json.dumps([stage, rows.hash(), options], sort_keys=True)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Record.model_validate(
        {
            "run": hashlib.sha256(decides.encode()).hexdigest()[:12],
            "task": rows.name,
            "memory": stage,
            "shell": {"model": name},
            "seed": training.seed,
            "lr": training.lr,
            "training": {**options, "stopped_early_at": None, "rows": len(rows.rows) - rows.held_out,
                         "packed_rows": rows.epoch, "dropped": dict(rows.rows.dropped), "trained_parameters": trained},
            "metrics": {"loss": best["valid_loss"], "accuracy": best["valid_accuracy"]},
            "curve": result.curve,
            "cost": {
                "parameters": sum(p.numel() for p in model.parameters()),
                "train_seconds": result.seconds,
                "train_tokens_per_second": result.tokens_per_second,
                "peak_memory_bytes": result.peak_memory_bytes,
            },
            "versions": provenance.versions(),
            "commit": provenance.commit(),
            "hardware": provenance.hardware(next(model.parameters()).device),
            "command": command,
            "finished": now(),
        }
    )  # fmt: skip


def _lines(path: Path) -> list[dict[str, Any]]:
    """What a killed writer left unfinished at the end is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").split("\n") if path.is_file() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found
