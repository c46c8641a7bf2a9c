"""A task's rows for transformers' Trainer, and for whatever else trains by its rules.

Our labels are shifted already: `labels[t]` is what follows `input_ids[t]`. Theirs are not: the model shifts them. So a
row gets one token more, which stands behind the last question and holds its answer; no causal model reads it.

Legend: B rows, T time of a task's row, N rows of a set, V vocabulary.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from mnemic.errors import UsageError
from mnemic.models.visibility import attention_masks
from mnemic.tasks.base import UNASKED, Examples, IntArray, Split, TaskConfig

__all__ = ["TaskRows", "TaskStream", "answer_accuracy", "hide_keys", "likeliest", "model_inputs", "trainer"]

_ROWS_AT_ONCE = 256


def model_inputs(examples: Examples, *, answers_last: bool = True) -> dict[str, Tensor]:
    """What a transformers model is called with to be trained on rows, labels not shifted.

    Args:
        answers_last: append the token that holds what is asked after the last one; without it that is not trained.

    Returns:
        input_ids, labels and, where the rows have them, attention_mask, position_ids and visible_until (which needs
        :func:`hide_keys`): [B, T + 1] each, or [B, T].

    Raises:
        UsageError: rows of vectors instead of ids, or packed rows.
    """
    if examples.inputs is not None:
        raise UsageError("these rows are vectors; a transformers Trainer reads rows of token ids")
    if examples.documents is not None:
        raise UsageError(
            "packed rows keep documents apart by masks that a transformers Trainer does not know; use pack=false"
        )
    targets = examples.targets
    ids, labels = examples.input_ids, np.full_like(targets, UNASKED)
    labels[:, 1:] = targets[:, :-1]
    inputs: dict[str, IntArray] = {}
    if examples.attention_mask is not None:
        inputs["attention_mask"] = examples.attention_mask.astype(np.int64)
    if examples.positions is not None:
        inputs["position_ids"] = examples.positions
    if examples.visible_until is not None:
        inputs["visible_until"] = examples.visible_until
    if answers_last:
        last = targets[:, -1:]
        ids, labels = _with_column(ids, np.maximum(last, 0)), _with_column(labels, last)
        inputs = {name: _with_column(values, _after_the_end(name, values)) for name, values in inputs.items()}
    inputs = {"input_ids": ids, "labels": labels, **inputs}
    return {name: torch.from_numpy(np.array(values, dtype=np.int64)) for name, values in inputs.items()}


class TaskRows(Dataset[dict[str, Tensor]]):
    """The first rows of one split, drawn once: a dataset with a length, for epochs and for evaluation.

    Raises:
        UsageError: the split has no rows, or rows that cannot be trained so, see :func:`model_inputs`.
    """

    def __init__(self, task: TaskConfig, split: Split, rows: int, seed: int = 0, start: int = 0) -> None:
        self.inputs = model_inputs(task.sample(split, rows, seed, start))
        if not len(self):
            raise UsageError(f"task {task.spec()} has no rows from row {start} on in its {split} split")

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        """[T + 1] each."""
        return {name: values[row] for name, values in self.inputs.items()}


class TaskStream(IterableDataset[dict[str, Tensor]]):
    """All rows of a split in their order, as mnemic's own training reads them: with as many of them as one asks for."""

    def __init__(self, task: TaskConfig, split: Split = "train", seed: int = 0, start: int = 0) -> None:
        self.task, self.split, self.seed, self.start = task, split, seed, start

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """[T + 1] each; the readers of a DataLoader take blocks of rows in turns."""
        reader = get_worker_info()
        worker, workers = (reader.id, reader.num_workers) if reader is not None else (0, 1)
        for examples in self.task.stream(self.split, _ROWS_AT_ONCE, self.seed, worker, workers, self.start):
            inputs = model_inputs(examples)
            for row in range(len(examples)):
                yield {name: values[row] for name, values in inputs.items()}


def trainer(
    model: Any,
    task: TaskConfig,
    args: Any,
    *,
    train_rows: int | None = None,
    valid_rows: int = 256,
    seed: int = 0,
    **more: Any,
) -> Any:
    """transformers' Trainer on a task; its evaluation says `eval_accuracy` where the task asks.

    Args:
        model: the host, or any causal model of transformers.
        args: a TrainingArguments.
        train_rows: train on this many rows again and again; None: on new ones all the time, in the order in which
            `mnemic train` reads them.
        valid_rows: rows of the validation split.
        seed: of the rows; what shuffles them, and initialises weights, is `args`' own.
        more: what Trainer takes besides: callbacks, optimizers, processing_class…

    Raises:
        UsageError: rows that cannot be trained so, a vocabulary too small, or endless rows and no end (`max_steps`).
    """
    from transformers import Trainer

    for name in ("train_dataset", "eval_dataset", "data_collator"):
        if name in more:
            raise UsageError(f"{name} is made from the task; leave it out, or use transformers.Trainer itself")
    if train_rows is None and args.max_steps <= 0:
        raise UsageError(f"max_steps={args.max_steps}: a task's rows have no end; set max_steps, or train_rows")
    vocabulary = model.config.get_text_config().vocab_size
    if task.vocab_size > vocabulary:
        raise UsageError(f"task {task.spec()} has {task.vocab_size} ids, the model {vocabulary}")
    valid = TaskRows(task, "valid", valid_rows, seed)
    if "visible_until" in valid.inputs:
        hide_keys(model)
    args.remove_unused_columns = False  # it would drop visible_until, which the model's signature does not name
    made = (
        {"compute_metrics": answer_accuracy, "preprocess_logits_for_metrics": likeliest}
        if task.chance is not None
        else {}
    )
    train = TaskStream(task, "train", seed) if train_rows is None else TaskRows(task, "train", train_rows, seed)
    return Trainer(
        model=model,
        args=args,
        train_dataset=train,
        eval_dataset=valid,
        **{**made, **more},
    )


def likeliest(logits: Tensor | tuple[Tensor, ...], labels: Tensor) -> Tensor:
    """[B, T + 1, V] -> [B, T + 1] ids, so that an evaluation need not keep all logits."""
    return (logits[0] if isinstance(logits, tuple) else logits).argmax(-1)


def answer_accuracy(prediction: Any) -> dict[str, float]:
    """Share of right answers, from an EvalPrediction of what :func:`likeliest` made: ids [N, T + 1] and labels."""
    said: NDArray[Any] = np.asarray(prediction.predictions)[:, :-1]
    wanted: NDArray[Any] = np.asarray(prediction.label_ids)[:, 1:]
    asked = wanted != UNASKED
    return {"accuracy": float((said == wanted)[asked].mean())}


def hide_keys(model: nn.Module) -> Any:
    """Make a model take `visible_until` [B, T] in every call and turn it into its attention mask.

    Returns:
        a handle whose `remove()` undoes it.
    """
    config = model.config

    def make_mask(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        until = named.pop("visible_until", None)
        if until is not None:
            real = named.get("attention_mask")
            named["attention_mask"] = attention_masks(config, until, real=None if real is None else real.bool())
        return arguments, named

    return model.register_forward_pre_hook(make_mask, with_kwargs=True)


def _with_column(values: NDArray[Any], column: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([values, column], axis=1)


def _after_the_end(name: str, values: IntArray) -> IntArray:
    """[B, 1] for the token behind the row: a real one's next position, seen by itself, or padding after padding."""
    last = values[:, -1:]
    return {
        "attention_mask": last,
        "position_ids": last + 1,
        "visible_until": np.full_like(last, values.shape[1] + 1),
    }[name]
