"""Synthetic recall tasks: rows drawn in blocks from a counter, with an oracle that answers them exactly.

Legend: B rows, T time, F features of a continuous input.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, Examples, IntArray, Prompt, Split
from mnemic.tasks.blocks import BlockTask
from mnemic.tasks.sampling import block_generator, row_hash

__all__ = ["TokenTask", "worded"]

FEW_ROWS_BITS = 40
APART_SHARES = {"train": (0, 6), "valid": (6, 7), "test": (7, 8)}
APART_ROUNDS = 200


class TokenTask(BlockTask, frozen=True, extra="forbid"):
    """A task whose rows are drawn, endlessly, from a stated law.

    Args:
        train_on: what is trained: the answers that are asked for, or every next token of the row.
    """

    answers_follow: ClassVar[bool] = True
    """Whether a token that equals the answer before it is that answer, given away, and no part of the question."""

    train_on: Literal["asked", "all"] = "asked"

    @abstractmethod
    def draw(self, rng: Generator, rows: int) -> Examples:
        """That many independent rows."""

    @abstractmethod
    def row_bits(self) -> float:
        """Log2 of how many different rows there are, at least; below 40 the splits are kept apart row by row."""

    @property
    @abstractmethod
    def chance(self) -> float: ...

    @abstractmethod
    def oracle(self, rows: NDArray[Any]) -> IntArray:
        """[B, T] the labels, worked out in plain Python from what a model sees: input_ids [B, T] or inputs [B, T, F].

        A question whose answer is not in the row stays -100.
        """

    @abstractmethod
    def word(self, token: int) -> str:
        """One token as people read it."""

    @property
    def told(self) -> int | None:
        """How many tokens of every row tell what all that follows them asks for; None where rows are not so."""
        return None

    def render(self, examples: Examples) -> list[Prompt]:
        rows = zip(examples.input_ids, examples.labels, strict=True)
        return [worded(ids, labels, self.word, self.answers_follow) for ids, labels in rows]

    def rows_of_block(self, identity: str, split: Split, block: int, rows: int) -> Examples:
        rng = block_generator(identity, block)
        drawn = self.draw(rng, rows) if self.row_bits() >= FEW_ROWS_BITS else self._draw_apart(rng, split, rows)
        return self.with_training(drawn)

    def with_training(self, drawn: Examples) -> Examples:
        """The rows with what `train_on` says is trained."""
        if self.train_on == "asked":
            return drawn
        trained = np.ones_like(drawn.loss_mask)
        if drawn.attention_mask is not None:
            trained[:, :-1] = drawn.attention_mask[:, 1:]
        trained[:, -1] = False
        return replace(drawn, loss_mask=trained | drawn.loss_mask)

    def _draw_apart(self, rng: Generator, split: Split, rows: int) -> Examples:
        """Rows of one split only: with few different rows, a row's own hash says which split it belongs to."""
        low, high = APART_SHARES[split]
        kept: list[Examples] = []
        missing = rows
        for _ in range(APART_ROUNDS):
            drawn = self.draw(rng, rows)
            share = row_hash(np.concatenate([drawn.input_ids, drawn.labels], axis=1)) >> np.uint64(61)
            mine = drawn[np.flatnonzero((share >= low) & (share < high))[:missing]]
            kept.append(mine)
            missing -= len(mine)
            if not missing:
                return Examples.concat(kept)
        raise UsageError(
            f"{self.spec()} has only about {2 ** self.row_bits():.0f} different rows, too few to keep train, valid and "
            f"test apart; use a larger vocabulary or load"
        )


def worded(ids: IntArray, labels: IntArray, word: Callable[[int], str], answers_follow: bool) -> Prompt:
    """A row as text, every question as "=?" behind its token; an answer that the row goes on to give is left out."""
    words, answers, given = [], [], UNASKED
    for token, label in zip(ids.tolist(), labels.tolist(), strict=True):
        if token != given or not answers_follow:
            words.append(word(token))
        if label != UNASKED:
            words.append("=?")
            answers.append(word(label))
        given = label
    return Prompt(" ".join(words), tuple(answers))
