"""Methods without training, asked the same questions as the models: one record each, in the same file and plots."""

import hashlib
import math

import numpy as np
import torch

from mnemic.report.records import Record
from mnemic.tasks.base import UNASKED, TaskConfig
from mnemic.training import provenance
from mnemic.training.evaluation import Answers, report

__all__ = ["baseline_records"]


def baseline_records(task: TaskConfig, rows: int, seed: int, command: str = "") -> list[Record]:
    """What the task's own baselines answer on the test rows of a seed; [] where the task has none."""
    values = task.label_values()
    if values is None:
        return []
    examples = task.sample("test", rows, seed)
    asked = examples.labels != UNASKED
    wanted = values[examples.labels[asked]].astype(np.float64)
    slices = {name: np.asarray(of[asked]).astype(np.int64) for name, of in examples.slices.items()}
    row, correct = np.nonzero(asked)[0], np.zeros(len(wanted), np.bool_)
    found = []
    for name, said in task.baselines(examples).items():
        error = (said.reshape(-1) - wanted) ** 2
        answers = Answers(row, correct, error, slices, len(examples), examples.input_ids.size, math.nan)
        measured = report(answers, seed, has_answers=False, has_numbers=True)
        found.append(
            Record.model_validate(
                {
                    "run": hashlib.sha256(f"{task.hash()} {name} {rows} {seed}".encode()).hexdigest()[:12],
                    "task": task.spec(),
                    "task_config": task.model_dump(mode="json"),
                    "memory": name,
                    "places": ("closed form",),
                    "seed": seed,
                    "training": {"test_rows": rows},
                    "metrics": measured.metrics,
                    "slices": measured.slices,
                    "versions": provenance.versions(),
                    "commit": provenance.commit(),
                    "hardware": provenance.hardware(torch.device("cpu")),
                    "command": command,
                }
            )
        )
    return found
