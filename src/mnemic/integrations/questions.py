"""What a task asks, one question at a time, as text: for harnesses that bring a model and a tokenizer of their own."""

from collections.abc import Iterator

import numpy as np

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, Examples, Split, TaskConfig
from mnemic.tasks.prompts import PromptTask, Question
from mnemic.tasks.tokens import TokenTask
from mnemic.teaching.asking.asking import questions_of

__all__ = ["is_told_in_tokens", "questions"]

WORD_TOKENS = 16
"""Of a reply that should be one word, in the tokens of whoever replies."""


def is_told_in_tokens(task: TaskConfig) -> bool:
    """Whether a row is words of a closed vocabulary, rather than a text."""
    return isinstance(task, TokenTask) and not (isinstance(task, PromptTask) and task.form == "text")


def questions(task: TaskConfig, split: Split, rows: int, seed: int = 0) -> dict[str, Question]:
    """The questions of a split's first rows, by "split/seed/row/number of the question in its row".

    Of a task in tokens each label is one: the row's words up to there, and the word that follows. Words after an
    earlier question, its answer too if the row gives it, stay readable, as they are for a model trained on the task.
    Of a text task each row is one, as `mnemic ask` asks it.

    Raises:
        UsageError: the split has no rows, or the task asks nothing in words.
    """
    if is_told_in_tokens(task):
        assert isinstance(task, TokenTask)
        found = dict(_of_tokens(task, task.sample(split, rows, seed), f"{split}/{seed}"))
    else:
        found = {f"{split}/{seed}/{row}/0": q for row, q in enumerate(questions_of(task, split, rows, seed))}
    if not found:
        raise UsageError(f"task {task.spec()} asks nothing in the first {rows} rows of its {split} split")
    return found


def _of_tokens(task: TokenTask, examples: Examples, place: str) -> Iterator[tuple[str, Question]]:
    if examples.inputs is not None:
        raise UsageError(f"{task.spec()} reads vectors, which no text can stand for")
    real = np.ones(examples.labels.shape, bool) if examples.attention_mask is None else examples.attention_mask
    for row, (ids, labels) in enumerate(zip(examples.input_ids, examples.labels, strict=True)):
        for number, t in enumerate(np.flatnonzero(labels != UNASKED).tolist()):
            words = [task.word(token) for token in ids[: t + 1][real[row, : t + 1]].tolist()]
            slices = {name: int(values[row, t]) for name, values in examples.slices.items()}
            told = " ".join(words)
            answers = (task.word(int(labels[t])),)
            asked = Question(told, "", "", answers, slices=slices, scoring="exact", max_tokens=WORD_TOKENS)
            yield f"{place}/{row}/{number}", asked
