"""What every recall task is: a frozen config that makes examples, row by row the same wherever it runs.

Legend: B rows, T time.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from mnemic.errors import UsageError
from mnemic.options import explain, format_option

__all__ = [
    "UNASKED",
    "BoolArray",
    "Examples",
    "FloatArray",
    "IntArray",
    "Prompt",
    "Split",
    "TaskConfig",
]

Split = Literal["train", "valid", "test"]
IntArray = NDArray[np.integer[Any]]
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float32]

UNASKED = -100
"""The label of a position where nothing is asked; cross-entropies ignore it by default."""


@dataclass(frozen=True)
class Prompt:
    """A row as text, for people and for language models that have a tokeniser of their own.

    Attributes:
        text: the row, every question written as "=?".
        answers: what belongs at each question, in order.
    """

    text: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Examples:
    """Rows of a task.

    Attributes:
        input_ids: [B, T] int64.
        labels: [B, T] int64, already shifted: labels[:, t] is the answer after reading input_ids[:, : t + 1],
            -100 where nothing is asked.
        loss_mask: [B, T] bool, the positions that are trained; those with a label unless the task says otherwise.
        slices: name -> [B, T] int, what makes each asked position hard; meaningless where nothing is asked.
        attention_mask: [B, T] bool, False on padding, or None when there is none.
        inputs: [B, T, F] float32, what is read instead of input_ids in a continuous task, or None.
        positions: [B, T] int64, logical positions, or None where they count the tokens of a row.
        visible_until: [B, T] int64, for rows in which attention forgets: query q sees key k exactly when
            k <= q < visible_until[k]; None where it forgets nothing.
        documents: [B, T] int64, which document of a packed row a token belongs to, or None where a row is one.
    """

    input_ids: IntArray
    labels: IntArray
    loss_mask: BoolArray
    slices: Mapping[str, IntArray] = field(default_factory=dict)
    attention_mask: BoolArray | None = None
    inputs: FloatArray | None = None
    positions: IntArray | None = None
    visible_until: IntArray | None = None
    documents: IntArray | None = None

    def __len__(self) -> int:
        return len(self.input_ids)

    def __getitem__(self, rows: slice | IntArray | BoolArray) -> "Examples":
        return Examples(
            self.input_ids[rows],
            self.labels[rows],
            self.loss_mask[rows],
            {name: values[rows] for name, values in self.slices.items()},
            *(None if values is None else values[rows] for values in self._optional()),
        )

    def replace(self, **changes: Any) -> "Examples":
        """These rows with other arrays in some places."""
        return replace(self, **changes)

    def _optional(self) -> tuple[NDArray[Any] | None, ...]:
        return self.attention_mask, self.inputs, self.positions, self.visible_until, self.documents

    @property
    def targets(self) -> IntArray:
        """[B, T] what training predicts: in `loss_mask` the label, or the next token if there is none; else -100."""
        following = np.full_like(self.labels, UNASKED)
        following[:, :-1] = self.input_ids[:, 1:]
        wanted = np.where(self.labels == UNASKED, following, self.labels)
        return np.where(self.loss_mask, wanted, UNASKED)

    @staticmethod
    def concat(parts: "Sequence[Examples]") -> "Examples":
        """Rows of several samples of one task under each other; always a copy."""
        first = parts[0]
        return Examples(
            np.concatenate([p.input_ids for p in parts]),
            np.concatenate([p.labels for p in parts]),
            np.concatenate([p.loss_mask for p in parts]),
            {name: np.concatenate([p.slices[name] for p in parts]) for name in first.slices},
            *(_join(values) for values in zip(*(p._optional() for p in parts), strict=True)),
        )


class TaskConfig(BaseModel, ABC, frozen=True, extra="forbid"):
    """A recall task and its options. A subclass adds fields, and raises `version` when equal options give other rows.

    Wrong options raise UsageError, whether they come from Python or from the command line.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    positional: ClassVar[str | None] = None
    """The field that "name:value" sets; None where every option is named."""

    if not TYPE_CHECKING:  # type checkers keep the constructor made from the fields

        def __init__(self, **options: Any) -> None:
            try:
                super().__init__(**options)
            except ValidationError as wrong:
                raise UsageError(explain(self.name, type(self), wrong)) from None

    @abstractmethod
    def sample(self, split: Split, count: int, seed: int = 0, start: int = 0) -> Examples:
        """Rows start … start + count - 1 of a split. Row i depends on config, split, seed and i, on nothing else."""

    def stream(
        self, split: Split, batch_size: int, seed: int = 0, worker: int = 0, workers: int = 1, start: int = 0
    ) -> Iterator[Examples]:
        """Batches from row `start` on, until the rows end, if they do; `workers` readers take them in turns."""
        check_range(self.name, "batch_size", batch_size, 1)
        check_range(self.name, "worker", worker, 0, workers - 1)
        row = start + worker * batch_size
        while len(batch := self.sample(split, batch_size, seed, row)):
            yield batch
            row += workers * batch_size

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """One more than the largest id in `input_ids` and `labels`."""

    @property
    @abstractmethod
    def max_length(self) -> int:
        """T of the longest row."""

    @property
    def chance(self) -> float | None:
        """Accuracy of guessing among the admissible answers; None where nothing is answered right or wrong."""
        return None

    def information_bits(self) -> float | None:
        """Bits a causal model must carry to answer everything; None where unknown."""
        return None

    @abstractmethod
    def render(self, examples: Examples) -> list[Prompt]:
        """Each row as text with its answers."""

    def loads(self) -> "list[TaskConfig]":
        """The same task with other loads and lengths, within the same vocabulary, for a model trained on this one."""
        return []

    def label_values(self) -> FloatArray | None:
        """[V] the number that each label stands for, nan for none; None where answers are names and no numbers.

        With numbers, what counts is the squared error of their mean under a model's distribution over the labels.
        """
        return None

    def baselines(self, examples: Examples) -> Mapping[str, FloatArray]:
        """Name -> [B, Q] the numbers that methods without training answer at every question of these rows."""
        return {}

    def hash(self) -> str:
        """Hex digest of the class, its version and every option: equal configs, equal rows."""
        canonical = json.dumps(
            {"task": type(self).__name__, "version": self.version, "options": self.model_dump(mode="json")},
            sort_keys=True,
            separators=(",", ":"),
        )
        return hashlib.sha256(canonical.encode()).hexdigest()

    def spec(self) -> str:
        """The task as one writes it on the command line, options that have their default left out."""
        options = {
            option: getattr(self, option)
            for option, about in type(self).model_fields.items()
            if about.is_required() or getattr(self, option) != about.get_default(call_default_factory=True)
        }
        head = [format_option(options.pop(self.positional))] if self.positional in options else []
        segments = head + [f"{option}={format_option(value)}" for option, value in options.items()]
        return self.name + (":" + ",".join(segments) if segments else "")

    def replace(self, **options: Any) -> Self:
        """This task with some options changed, checked again."""
        given = {option: getattr(self, option) for option in self.model_fields_set}
        return type(self)(**{**given, **options})

    def those_that_fit(self, changes: Iterable[Mapping[str, Any]]) -> "list[TaskConfig]":
        """This task with each of the changes that it does not refuse."""
        found: list[TaskConfig] = []
        for options in changes:
            try:
                found.append(self.replace(**options))
            except UsageError:
                continue
        return found


def check_range(what: str, option: str, value: int, least: int, most: int | None = None) -> None:
    """Raises UsageError when least <= value <= most does not hold."""
    if value < least or (most is not None and value > most):
        bound = f"at least {least}" if most is None else f"from {least} to {most}"
        raise UsageError(f"{what}: {option}={value} must be {bound}")


def _join(parts: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    present = [p for p in parts if p is not None]
    return np.concatenate(present) if present else None
