"""A state machine run in rounds: reasoning longer than its problem, written in blocks that mementos sum up.

A program of operations on a state from 0 to 9 is applied again and again. Every round writes its operations and states
as a block, and may end with a memento: the whole state, or only whether it is odd. With the latter, whatever else the
next round knows must have come through the memento's keys and values.

Legend: B rows, R rounds, O operations of a round.
"""

import math
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field

from mnemic.tasks.base import UNASKED, Examples, IntArray, TaskConfig
from mnemic.tasks.tokens import TokenTask

__all__ = ["MARKERS", "Rounds"]

STATES = 10
BOS, THINK, END_THINK, EOS = 1, 2, 3, 4
MARKERS = BLOCK_START, BLOCK_END, SUMMARY_START, SUMMARY_END = 5, 6, 7, 8
"""The ids of the four markers of MEMENTO."""
DIGIT = 9
OPERATION = DIGIT + STATES  # s + k for k < 10, then 3 s + k: bijections modulo 10
OPERATIONS = 2 * STATES
INDEX = OPERATION + OPERATIONS
_STAYS = 2**31 - 1
_WORDS = {0: ".", BOS: "BOS", THINK: "<think>", END_THINK: "</think>", EOS: "EOS"} | dict(
    zip(MARKERS, ("[", "]", "(", ")"), strict=True)
)


class Rounds(TokenTask, frozen=True, extra="forbid"):
    """BOS s (i op)xO <think> then R times [ (i op s s')xO ] ( m ) then </think> s EOS; [ ] ( ) are the four markers.

    Asked are the new states, the mementos and the answer; trained is everything behind the problem.

    Args:
        rounds: R.
        ops: O.
        memento: what m says: the state ("full"), the state modulo 2 ("lossy"); "none": no blocks, no mementos.
        hide: rows in which attention loses each block when its memento ends (MEMENTO's second stage).
    """

    name: ClassVar[str] = "rounds"
    version: ClassVar[int] = 1

    rounds: Annotated[int, Field(ge=1, le=256)] = 4
    ops: Annotated[int, Field(ge=1, le=64)] = 4
    memento: Literal["lossy", "full", "none"] = "lossy"
    hide: bool = False

    @property
    def vocab_size(self) -> int:
        return INDEX + self.ops

    @property
    def prompt_length(self) -> int:
        return 3 + 2 * self.ops

    @property
    def round_length(self) -> int:
        return 4 * self.ops + (0 if self.memento == "none" else 5)

    @property
    def max_length(self) -> int:
        return self.prompt_length + self.rounds * self.round_length + 3

    @property
    def chance(self) -> float:
        return 1 / STATES

    def information_bits(self) -> float:
        """The program and the state, which a block's end leaves to be carried on."""
        return self.row_bits()

    def row_bits(self) -> float:
        return math.log2(STATES) + self.ops * math.log2(OPERATIONS)

    def draw(self, rng: Generator, rows: int) -> Examples:
        state: IntArray = rng.integers(STATES, size=rows)
        program = rng.integers(OPERATIONS, size=(rows, self.ops))
        prompt = np.full((rows, self.prompt_length), BOS)
        prompt[:, 1] = DIGIT + state
        prompt[:, 2:-1:2] = INDEX + np.arange(self.ops)
        prompt[:, 3:-1:2] = OPERATION + program
        prompt[:, -1] = THINK
        parts = [prompt]
        for _ in range(self.rounds):
            block = np.empty((rows, self.ops, 4), np.int64)
            block[:, :, 0] = INDEX + np.arange(self.ops)
            block[:, :, 1] = OPERATION + program
            for op in range(self.ops):
                block[:, op, 2] = DIGIT + state
                state = _apply(program[:, op], state)
                block[:, op, 3] = DIGIT + state
            parts += self._written(block.reshape(rows, -1), state)
        ends = np.full((rows, 3), END_THINK)
        ends[:, 1], ends[:, 2] = DIGIT + state, EOS
        return self._examples(np.concatenate([*parts, ends], axis=1))

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        body = self.prompt_length
        for r, row in enumerate(rows.tolist()):
            state, program = row[1] - DIGIT, [token - OPERATION for token in row[3 : body - 1 : 2]]
            asked = {}
            for t, token in enumerate(row[body:], start=body):
                if DIGIT <= token < OPERATION and OPERATION <= row[t - 1] < INDEX:  # the state before an operation
                    k = program[row[t - 2] - INDEX]
                    state = ((3 if k >= STATES else 1) * state + k % STATES) % STATES
                    asked[t] = state
                elif token == SUMMARY_START:
                    asked[t] = state % 2 if self.memento == "lossy" else state
                elif token == END_THINK:
                    asked[t] = state
            for t, answer in asked.items():
                labels[r, t] = DIGIT + answer
        return labels

    def word(self, token: int) -> str:
        if token in _WORDS:
            return _WORDS[token]
        if token < OPERATION:
            return str(token - DIGIT)
        if token < INDEX:
            k = token - OPERATION
            return f"{'3s' if k >= STATES else 's'}+{k % STATES}"
        return f"#{token - INDEX + 1}"

    def loads(self) -> list[TaskConfig]:
        """Half and twice as many rounds."""
        return [self.replace(rounds=r) for r in (self.rounds // 2, 2 * self.rounds) if 1 <= r <= 256]

    def _written(self, block: IntArray, state: IntArray) -> list[IntArray]:
        if self.memento == "none":
            return [block]
        rows = len(block)
        said = DIGIT + (state % 2 if self.memento == "lossy" else state)
        before, between, after = (
            np.tile(np.array(tokens), (rows, 1))
            for tokens in ([BLOCK_START], [BLOCK_END, SUMMARY_START], [SUMMARY_END])
        )
        return [before, block, between, said[:, None], after]

    def _examples(self, ids: IntArray) -> Examples:
        """Labels are the tokens that follow those that ask; trained is every token behind the problem."""
        following = np.roll(ids, -1, axis=1)
        place = np.arange(ids.shape[1]) - self.prompt_length
        within = place % self.round_length - (self.memento != "none")  # in the operations of a block
        inside = (place >= 0) & (place < self.rounds * self.round_length)
        asks = inside & (within >= 0) & (within < 4 * self.ops) & (within % 4 == 2)
        asks |= inside & (within == 4 * self.ops + 1) | (ids[0] == END_THINK)
        labels = np.where(asks, following, UNASKED)
        trained = np.broadcast_to((place >= -1) & (ids[0] != EOS), ids.shape).copy()
        slices = {
            "round": np.broadcast_to(np.where(asks, place // self.round_length + 1, 0), ids.shape).astype(np.int32)
        }
        return Examples(ids, labels, trained, slices, visible_until=self._visible_until(ids) if self.hide else None)

    def _visible_until(self, ids: IntArray) -> IntArray:
        until = np.full(ids.shape, _STAYS, np.int64)
        if self.memento == "none":
            return until
        for start in range(self.prompt_length, self.prompt_length + self.rounds * self.round_length, self.round_length):
            until[:, start + 1 : start + 1 + 4 * self.ops] = start + self.round_length - 1
        return until


def _apply(op: IntArray, state: IntArray) -> IntArray:
    return np.asarray((np.where(op >= STATES, 3, 1) * state + op % STATES) % STATES)
