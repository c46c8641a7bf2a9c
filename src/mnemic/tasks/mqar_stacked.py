"""MQAR on vectors: a step holds a key's embedding beside its value's, so that one mixer without token shift can do it.

Legend: B rows, D facts, P passes, T = (P + 1) D steps, C ids, E embedding width.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, Examples, FloatArray, IntArray, Prompt
from mnemic.tasks.sampling import block_generator, distinct, permutations

__all__ = ["StackedRows"]


@dataclass(frozen=True)
class StackedRows:
    """D facts told P times, each time in a fresh order, then every key alone in a fresh order.

    inputs: [B, T, 2E] = embedding of the key, embedding of its value (zeros where it is asked). input_ids: [B, T] keys.
    labels: [B, T] the value's index among the C/2 values, to be scored against `embeddings()[C/2:]`.
    """

    pairs: int
    passes: int
    vocab: int
    width: int
    per_sequence_mapping: bool

    @property
    def facts(self) -> int:
        return self.pairs

    @property
    def values(self) -> int:
        return self.vocab // 2

    def check(self) -> None:
        if self.vocab % 2:
            raise UsageError(f"vocab={self.vocab} must be even in form=stacked")
        if self.pairs > self.values:
            raise UsageError(f"pairs={self.pairs} must be at most {self.values}, the keys that vocab={self.vocab} has")

    def bits(self) -> float:
        choices = (math.lgamma(self.values + 1) - math.lgamma(self.values - self.pairs + 1)) / math.log(2)
        return choices * (2 if self.per_sequence_mapping else 1)

    def embeddings(self) -> FloatArray:
        return _unit_vectors(self.vocab, self.width)

    def draw(self, rng: Generator, rows: int) -> Examples:
        keys = distinct(rng, rows, self.pairs, self.values)
        values = (
            distinct(rng, rows, self.pairs, self.values) if self.per_sequence_mapping else _fixed_map(self.values)[keys]
        )
        order = np.stack([permutations(rng, rows, self.pairs) for _ in range(self.passes + 1)], axis=1)
        key, value = (np.take_along_axis(x[:, None], order, 2).reshape(rows, -1) for x in (keys, values))
        told = self.pairs * self.passes
        labels = np.where(np.arange(key.shape[1]) < told, UNASKED, value)
        table = self.embeddings()
        inputs = np.concatenate([table[key], table[self.values + value]], axis=2)
        inputs[:, told:, self.width :] = 0
        # where in a pass each fact stood: order maps places to facts, argsort turns it round
        place = np.take_along_axis(order[:, -2].argsort(axis=1), order[:, -1], 1)
        asked = {
            "distance": self.pairs + np.arange(self.pairs) - place,
            "load": np.full_like(place, self.pairs),
            "age_rank": self.pairs - 1 - place,
        }
        slices = {name: np.pad(x, ((0, 0), (told, 0))).astype(np.int32) for name, x in asked.items()}
        return Examples(key, labels, labels != UNASKED, slices, inputs=inputs)

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        keys, values = self._read(rows)
        labels = np.full(keys.shape, UNASKED, dtype=np.int64)
        for r in range(len(keys)):
            memory: dict[int, int] = {}
            for t, (key, value) in enumerate(zip(keys[r].tolist(), values[r].tolist(), strict=True)):
                if value == UNASKED:
                    labels[r, t] = memory.get(key, UNASKED)
                else:
                    memory[key] = value
        return labels

    def word(self, token: int) -> str:
        return f"k{token}"

    def render(self, examples: Examples) -> list[Prompt]:
        if examples.inputs is None:
            raise UsageError("these examples have no inputs; rows of form=stacked do")
        prompts = []
        for keys, values, labels in zip(*self._read(examples.inputs), examples.labels, strict=True):
            steps = [f"k{k} =?" if v == UNASKED else f"k{k} v{v}" for k, v in zip(keys, values, strict=True)]
            prompts.append(Prompt(" ".join(steps), tuple(f"v{v}" for v in labels[labels != UNASKED])))
        return prompts

    def _read(self, inputs: NDArray[Any]) -> tuple[IntArray, IntArray]:
        """[B, T] keys and values whose embeddings stand in the inputs; -100 where the value's half is empty."""
        table = self.embeddings()
        keys = (inputs[..., : self.width] @ table[: self.values].T).argmax(axis=-1)
        values = (inputs[..., self.width :] @ table[self.values :].T).argmax(axis=-1)
        return keys, np.where(inputs[..., self.width :].any(axis=-1), values, UNASKED)


@cache
def _unit_vectors(count: int, width: int) -> FloatArray:
    """[C, E] directions uniform on the sphere, the same for every config of this size."""
    drawn = block_generator(f"mqar embeddings {count} {width}", 0).standard_normal((count, width))
    vectors: FloatArray = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    vectors.setflags(write=False)
    return vectors


@cache
def _fixed_map(size: int) -> IntArray:
    """[C/2] the one value of every key."""
    return block_generator(f"mqar map {size}", 0).permutation(size)
