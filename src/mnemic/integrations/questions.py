"""What a task asks, one question at a time, as text: for harnesses that bring a model and a tokenizer of their own."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, Examples, Split, TaskConfig
from mnemic.tasks.text import TextTask
from mnemic.tasks.tokens import TokenTask

__all__ = ["Question", "questions"]


@dataclass(frozen=True)
class Question:
    """
    Attributes:
        id: "split/seed/row/number", of the row in its split and of the question in its row.
        prompt: all that may be read before answering.
        answers: what is right; of several, each belongs into the reply.
        slices: what makes it hard, by name, as in `Examples.slices`.
    """

    id: str
    prompt: str
    answers: tuple[str, ...]
    slices: dict[str, int] = field(default_factory=dict)


def questions(task: TaskConfig, split: Split, rows: int, seed: int = 0) -> list[Question]:
    """The questions of a split's first rows.

    Of a task in tokens each label is one: the row's words up to there, and the word that follows. Words after an
    earlier question, its answer too if the row gives it, stay readable, as they are for a model trained on the task.
    Of a task in text each row is one.

    Raises:
        UsageError: the split has no rows, or the task is to predict text, which asks nothing.
    """
    if isinstance(task, TextTask):
        raise UsageError(f"{task.spec()} asks no questions: every token is predicted; see `mnemic compare`")
    examples = task.sample(split, rows, seed)
    if not len(examples):
        raise UsageError(f"task {task.spec()} has no rows in its {split} split")
    place = f"{split}/{seed}"
    found = list(_of_tokens(task, examples, place) if isinstance(task, TokenTask) else _of_rows(task, examples, place))
    if not found:
        raise UsageError(f"task {task.spec()} asks nothing in the first {rows} rows of its {split} split")
    return found


def _of_tokens(task: TokenTask, examples: Examples, place: str) -> Iterator[Question]:
    if examples.inputs is not None:
        raise UsageError(f"{task.spec()} reads vectors, which no text can stand for")
    real = np.ones(examples.labels.shape, bool) if examples.attention_mask is None else examples.attention_mask
    for row, (ids, labels) in enumerate(zip(examples.input_ids, examples.labels, strict=True)):
        for number, t in enumerate(np.flatnonzero(labels != UNASKED).tolist()):
            words = [task.word(token) for token in ids[: t + 1][real[row, : t + 1]].tolist()]
            slices = {name: int(values[row, t]) for name, values in examples.slices.items()}
            answers = (task.word(int(labels[t])),)
            yield Question(f"{place}/{row}/{number}", " ".join(words), answers, slices)


def _of_rows(task: TaskConfig, examples: Examples, place: str) -> Iterator[Question]:
    for row, prompt in enumerate(task.render(examples)):
        yield Question(f"{place}/{row}/0", prompt.text, prompt.answers)
