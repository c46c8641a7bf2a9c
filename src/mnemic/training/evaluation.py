"""Asking a model a task's questions: accuracy and loss, cut by what makes recall hard, with intervals.

Legend: B rows, N questions (positions with a label) of all rows together.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mnemic.errors import UsageError
from mnemic.intervals import bootstrap, draw_weights
from mnemic.tasks.base import UNASKED, Examples, FloatArray, Split, TaskConfig
from mnemic.tasks.text import TextTask
from mnemic.training.buckets import buckets
from mnemic.training.objective import AskedLoss, scored_batch

__all__ = ["Answers", "Evaluation", "answer", "evaluate", "report"]


@dataclass(frozen=True)
class Answers:
    """What a model said to every question.

    Attributes:
        row: [N], the question's row.
        correct: [N] of bool.
        loss: [N], nats; or the squared error, where the labels are numbers.
        slices: name -> [N].
        rows, tokens: how much was read.
        seconds: how long the model took, nan where no model was asked.
        wanted: [N], the right answers, where it is told how well each of them was known.
    """

    row: NDArray[np.int64]
    correct: NDArray[np.bool_]
    loss: NDArray[np.float64]
    slices: dict[str, NDArray[np.int64]]
    rows: int
    tokens: int
    seconds: float
    wanted: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Evaluation:
    """Metrics and slices as a run's record holds them."""

    metrics: dict[str, float]
    slices: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    tokens_per_second: float = math.nan


def evaluate(
    model: nn.Module,
    task: TaskConfig,
    split: Split,
    rows: int,
    seed: int = 0,
    *,
    batch_size: int = 64,
    precision: str = "fp32",
) -> Evaluation:
    """Ask `model` the first `rows` rows of a split (or all that there are) and report with bootstrap intervals.

    Raises:
        UsageError: the split has no rows.
    """
    examples = task.sample(split, rows, seed)
    if not len(examples):
        raise UsageError(f"task {task.spec()} has no rows in its {split} split")
    device = next(model.parameters()).device
    parts = [examples[start : start + batch_size] for start in range(0, len(examples), batch_size)]
    values = task.label_values()
    answers = answer(AskedLoss(model, precision), parts, device, values)
    bytes_per_token = task.bytes_per_token(split) if isinstance(task, TextTask) else None
    has_answers, has_numbers = task.chance is not None, values is not None
    return report(
        answers, seed, has_answers=has_answers, bytes_per_token=bytes_per_token, has_numbers=has_numbers
    )  # fmt: skip


@torch.no_grad()
def answer(
    objective: AskedLoss, parts: Sequence[Examples], device: torch.device, numbers: FloatArray | None = None
) -> Answers:
    """Run the model over batches and collect what it said where it was asked.

    Args:
        numbers: [V] of `TaskConfig.label_values`.
    """
    was_training = objective.training
    objective.eval()
    values = None if numbers is None else torch.from_numpy(numbers).to(device)
    correct: list[NDArray[np.bool_]] = []
    loss: list[NDArray[np.float64]] = []
    row: list[NDArray[np.int64]] = []
    wanted: list[NDArray[np.int64]] = []
    slices: dict[str, list[NDArray[np.int64]]] = {name: [] for name in parts[0].slices}
    read = seconds = 0.0
    first_row = 0
    for examples in parts:
        batch = scored_batch(examples).to(device)
        began = time.perf_counter()
        if values is None:
            logprobs, right = objective.scores(batch)
            nll = -logprobs.cpu()  # and waits for the device
        else:
            error, right = objective.errors(batch, values)
            nll = error.cpu()
        seconds += time.perf_counter() - began
        correct.append(right.cpu().numpy())
        loss.append(nll.double().numpy())
        asked = examples.labels != UNASKED
        wanted.append(examples.labels[asked].astype(np.int64))
        row.append(first_row + np.nonzero(asked)[0])
        for name, found in slices.items():
            found.append(np.asarray(examples.slices[name])[asked].astype(np.int64))
        first_row += len(examples)
        read += examples.input_ids.size
    objective.train(was_training)
    joined = {name: np.concatenate(found) for name, found in slices.items()}
    return Answers(
        np.concatenate(row), np.concatenate(correct), np.concatenate(loss), joined, first_row, int(read), seconds,
        np.concatenate(wanted),
    )  # fmt: skip


def report(
    answers: Answers,
    seed: int,
    *,
    has_answers: bool,
    bytes_per_token: float | None = None,
    has_numbers: bool = False,
) -> Evaluation:
    """Metrics and slices with intervals.

    Args:
        has_answers: tells recall tasks from text, where only the loss counts.
        has_numbers: the loss is a squared error.
    """
    weights = draw_weights(answers.rows, seed)
    metrics = _overall(answers, weights, has_answers, bytes_per_token)
    if has_numbers:
        metrics |= {f"squared_error{end}": metrics[f"loss{end}"] for end in ("", "_low", "_high")}
    slices = {
        name: points
        for name, values in answers.slices.items()
        if (points := _slice(answers, name, values, weights, has_answers))
    }
    return Evaluation(metrics, slices, answers.tokens / max(answers.seconds, 1e-9))


def _overall(
    answers: Answers, weights: NDArray[np.float64], has_answers: bool, bytes_per_token: float | None
) -> dict[str, float]:
    everything = np.zeros(len(answers.row), dtype=np.int64)
    loss, loss_low, loss_high = (float(x[0]) for x in _means(answers, answers.loss, everything, 1, weights))
    if has_answers:
        accuracy, low, high = (float(x[0]) for x in _means(answers, answers.correct, everything, 1, weights))
        return {
            "accuracy": accuracy, "accuracy_low": low, "accuracy_high": high,
            "row_accuracy": _row_accuracy(answers), "loss": loss, "loss_low": loss_low, "loss_high": loss_high,
            **_class_accuracy(answers),
        }  # fmt: skip
    metrics = {"loss": loss, "loss_low": loss_low, "loss_high": loss_high}
    if bytes_per_token:
        metrics["bits_per_byte"] = loss / math.log(2) / bytes_per_token
    hit = answers.slices.get("recall_hit")
    if hit is not None:
        mean, low_, high_ = _means(answers, answers.loss, (hit > 0).astype(np.int64), 2, weights)
        for index, name in enumerate(("other", "recall_hit")):
            values = {f"{name}_loss": mean[index], f"{name}_loss_low": low_[index], f"{name}_loss_high": high_[index]}
            metrics |= {key: float(value) for key, value in values.items() if not math.isnan(value)}
        metrics["recall_hit_share"] = float((hit > 0).mean())
    return metrics


def _row_accuracy(answers: Answers) -> float:
    """Share of the rows with questions in which every answer is right."""
    asked = np.bincount(answers.row, minlength=answers.rows)
    right = np.bincount(answers.row, answers.correct, minlength=answers.rows)
    return float((right == asked)[asked > 0].mean())


def _class_accuracy(answers: Answers) -> dict[str, float]:
    """The mean over the different right answers of how often each was given: macro accuracy, as MAD reports it."""
    if answers.wanted is None or not len(answers.wanted):
        return {}
    _, of = np.unique(answers.wanted, return_inverse=True)
    return {"class_accuracy": float((np.bincount(of, answers.correct) / np.bincount(of)).mean())}


def _slice(
    answers: Answers, name: str, values: NDArray[np.int64], weights: NDArray[np.float64], has_answers: bool
) -> list[dict[str, Any]]:
    names, of_question = buckets(name, values)
    if not names:
        return []
    loss, low, high = _means(answers, answers.loss, of_question, len(names), weights)
    points: list[dict[str, Any]] = [{"value": text} for text in names]
    counts = np.bincount(of_question[of_question >= 0], minlength=len(names))
    if has_answers:
        accuracy, low, high = _means(answers, answers.correct, of_question, len(names), weights)
    for index, point in enumerate(points):
        point["count"] = int(counts[index])
        if has_answers:
            point["accuracy"] = float(accuracy[index])
        point |= {"loss": float(loss[index]), "low": float(low[index]), "high": float(high[index])}
    return points


def _means(
    answers: Answers, values: NDArray[Any], column: NDArray[np.int64], columns: int, weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean and interval of `values` [N] for each column; questions of column -1 are left out."""
    chosen = column >= 0
    cell = answers.row[chosen] * columns + column[chosen]
    shape = (answers.rows, columns)
    sums = np.bincount(cell, values[chosen].astype(np.float64), minlength=answers.rows * columns).reshape(shape)
    counts = np.bincount(cell, minlength=answers.rows * columns).reshape(shape).astype(np.float64)
    return bootstrap(sums.astype(np.float64), counts, weights)
