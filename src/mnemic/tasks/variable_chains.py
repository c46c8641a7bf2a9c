"""Variable tracking in tokens: chains of assignments, told in turns, of which one is asked about.

After Hsieh et al. 2024 (RULER, arXiv 2404.06654), for models with a small closed vocabulary.

Legend: B rows, C chains, H + 1 variables of a chain, S = C (H + 1) statements.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, Examples, IntArray
from mnemic.tasks.sampling import distinct, permutations
from mnemic.tasks.slices import asking

__all__ = ["ChainRows"]

QUESTION, FIRST = 1, 2


@dataclass(frozen=True)
class ChainRows:
    """Statements "variable source", in which the source is a value or a variable told before; then the question.

    A chain's statements keep their order, those of different chains take turns at random. Asked is, of one variable
    of a random chain, its value; or, of a value, the chain's variables one after the other.
    """

    chains: int
    hops: int
    variables: int
    values: int
    ask: Literal["variable", "chain"]

    @property
    def links(self) -> int:
        return self.hops + 1

    @property
    def told(self) -> int:
        return 2 * self.chains * self.links

    @property
    def length(self) -> int:
        return self.told + 2 + (self.hops if self.ask == "chain" else 0)

    @property
    def vocab_size(self) -> int:
        return FIRST + self.values + self.variables

    @property
    def answers(self) -> int:
        return self.values if self.ask == "variable" else self.variables

    def check(self) -> None:
        if self.chains * self.links > self.variables:
            raise UsageError(
                f"chains={self.chains} with hops={self.hops} need variables={self.chains * self.links}, "
                f"got variables={self.variables}"
            )
        if self.chains > self.values:
            raise UsageError(f"chains={self.chains} must be at most values={self.values}")

    def bits(self) -> float:
        """Which variable belongs to which value: of every chain its value, or the names of its variables."""
        if self.ask == "variable":
            return self.chains * self.links * math.log2(max(2, self.chains)) + self.chains * math.log2(self.values)
        return self.chains * self.links * math.log2(self.variables)

    def row_bits(self) -> float:
        names = math.lgamma(self.variables + 1) - math.lgamma(self.variables - self.chains * self.links + 1)
        return names / math.log(2)

    def draw(self, rng: Generator, rows: int) -> Examples:
        first_name = FIRST + self.values
        name = first_name + distinct(rng, rows, self.chains * self.links, self.variables)
        name = name.reshape(rows, self.chains, self.links)
        value = FIRST + distinct(rng, rows, self.chains, self.values)
        source = np.concatenate([value[..., None], name[..., :-1]], axis=2)
        turn = permutations(rng, rows, self.chains * self.links)
        place = np.sort(turn.reshape(rows, self.chains, self.links), axis=2)  # of each statement, in a chain's order
        context = np.empty((rows, self.told), np.int64)
        flat = 2 * place.reshape(rows, -1)
        np.put_along_axis(context, flat, name.reshape(rows, -1), 1)
        np.put_along_axis(context, flat + 1, source.reshape(rows, -1), 1)
        which = rng.integers(self.chains, size=(rows, 1, 1))
        asked_names = np.take_along_axis(name, which, 1)[:, 0]
        asked_place = np.take_along_axis(place, which, 1)[:, 0]
        asked_value = np.take_along_axis(value, which[..., 0], 1)
        question = np.full((rows, 1), QUESTION)
        hop: IntArray = np.tile(np.arange(self.links), (rows, 1))
        if self.ask == "variable":
            hop = rng.integers(self.links, size=(rows, 1))
            asking_for = np.take_along_axis(asked_names, hop, 1)
            ids = np.concatenate([context, question, asking_for], axis=1)
            at, answers, asked_place = np.array([self.told + 1]), asked_value, np.take_along_axis(asked_place, hop, 1)
        else:
            ids = np.concatenate([context, question, asked_value, asked_names[:, :-1]], axis=1)
            at, answers = self.told + 1 + np.arange(self.links), asked_names
        load = self.chains * self.links
        return asking(
            ids, at, answers, distance=at - 2 * asked_place, load=load, age_rank=load - 1 - asked_place, hops=hop
        )

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows.tolist()):
            value_of: dict[int, int] = {}
            for t in range(0, self.told, 2):
                value_of[row[t]] = value_of.get(row[t + 1], row[t + 1])
            at = self.told + 1
            if self.ask == "variable":
                labels[r, at] = value_of.get(row[at], UNASKED)
            else:
                chain = [name for name, value in value_of.items() if value == row[at]]
                for place, name in enumerate(chain[: self.links]):
                    labels[r, at + place] = name
        return labels

    def word(self, token: int) -> str:
        if token < FIRST:
            return "?" if token == QUESTION else "."
        return str(token - FIRST) if token < FIRST + self.values else f"x{token - FIRST - self.values}"
