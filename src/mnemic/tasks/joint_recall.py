"""Joint recall: the value belongs to a key within a context, so one key has as many values as there are contexts.

Zhan et al. 2025, arXiv 2507.00449, section 5 and the generator of its repository.

Legend: B rows, C contexts of a level, N blocks (one for each combination of contexts), K keys, L levels, T time.
"""

import math
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, Examples, IntArray, TaskConfig
from mnemic.tasks.joint_section import Section
from mnemic.tasks.sampling import distinct
from mnemic.tasks.tokens import TokenTask

__all__ = ["JointRecall"]

BOS, PAD, SEP, FIRST_VALUE = 1, 3, 4, 10
PUBLISHED_POOL = 16
PUBLISHED_VOCAB = 100


def _read_range(value: object) -> object:
    """ "5-16" as (5, 16)."""
    return tuple(value.split("-")) if isinstance(value, str) and "-" in value else value


Size = Annotated[
    Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]],
    BeforeValidator(_read_range),
]


class JointRecall(TokenTask, frozen=True, extra="forbid"):
    """A table of values by context and key is told twice in different orders; the second time the values are asked.

    A row is `bos, section, sep, section`; a section has a block for each context, in random order, and a block is the
    context followed by its pairs, in random order. Every answer stands behind its question.

    Args:
        contexts: contexts of a level, or a range such as 5-16 from which every row draws.
        keys: keys, likewise.
        values: values there are.
        levels: contexts are nested this deep; a block is headed by one context of every level.
        queries: "all", or how many (context, key) questions stand in place of the second section.
        sample_ids: draw each row's contexts and keys from all there are, not always the first.
    """

    name: ClassVar[str] = "joint-recall"
    version: ClassVar[int] = 1

    contexts: Size = 16
    keys: Size = 16
    values: Annotated[int, Field(ge=2)] = 16
    levels: Annotated[int, Field(ge=1, le=6)] = 1
    queries: Literal["all"] | Annotated[int, Field(ge=1)] = "all"
    sample_ids: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for option in ("contexts", "keys"):
            size = getattr(self, option)
            if isinstance(size, tuple) and size[0] > size[1]:
                raise UsageError(f"{option}={size[0]}-{size[1]} must go from the smaller to the larger")
        facts = _low(self.contexts) ** self.levels * _low(self.keys)
        if self.queries != "all" and self.queries > facts:
            raise UsageError(f"queries={self.queries} must be at most {facts}, the facts of the smallest row")
        if self.max_length > 1 << 20:
            raise UsageError(
                f"contexts={_high(self.contexts)}, keys={_high(self.keys)}, levels={self.levels} make rows of "
                f"{self.max_length} tokens; at most {1 << 20} are supported"
            )
        return self

    @property
    def vocab_size(self) -> int:
        """100 as published, or more where the ids need more."""
        return max(PUBLISHED_VOCAB, self._first_context + self.levels * self._context_pool)

    @property
    def max_length(self) -> int:
        section = self._blocks * (self.levels + 2 * _high(self.keys))
        return 2 + section + (section if self.queries == "all" else self.queries * (self.levels + 2) - 1)

    @property
    def told(self) -> int | None:
        if isinstance(self.contexts, tuple) or isinstance(self.keys, tuple):
            return None
        return 1 + self._blocks * (self.levels + 2 * self.keys)

    @property
    def chance(self) -> float:
        return 1 / self.values

    def information_bits(self) -> float:
        """The whole table of the largest row."""
        return self._blocks * _high(self.keys) * math.log2(self.values)

    def row_bits(self) -> float:
        return _low(self.contexts) ** self.levels * _low(self.keys) * math.log2(self.values)

    def draw(self, rng: Generator, rows: int) -> Examples:
        contexts, keys = _sizes(rng, rows, self.contexts), _sizes(rng, rows, self.keys)
        blocks = contexts**self.levels
        headers = self._headers(rng, rows, contexts)
        key_ids = FIRST_VALUE + self.values + self._names(rng, rows, _high(self.keys), self._key_pool)
        table = FIRST_VALUE + rng.integers(self.values, size=(rows, self._blocks, _high(self.keys)))
        row = np.arange(rows)[:, None, None]

        section = Section(blocks, keys, self._blocks, _high(self.keys), self.levels)
        input_ids = np.full((rows, self.max_length + self.levels + 2), PAD, dtype=np.int64)
        outside = self.max_length  # columns from here on take what a smaller row does not have, and are cut off
        input_ids[:, 0] = BOS
        np.put_along_axis(input_ids, 1 + section.length[:, None], SEP, 1)

        told = section.block_order(rng), section.key_order(rng)
        if self.queries == "all":
            again, asked = section, (section.block_order(rng), section.key_order(rng))
        else:
            one = np.ones_like(keys)
            again = Section(self.queries * one, one, self.queries, 1, self.levels)
            asked = section.some_facts(rng, self.queries)
        told_at, asked_at = section.places(1, outside), again.places(2 + section.length, outside)
        for (block, key), (header_at, key_at) in ((told, told_at), (asked, asked_at)):
            for level in range(self.levels):
                input_ids[row[..., 0], header_at + level] = headers[row[..., 0], block, level]
            input_ids[row, key_at] = key_ids[row, key]
            input_ids[row, key_at + 1] = table[row, block[..., None], key]

        fact = row, asked[0][..., None], asked[1]
        value_at, order = np.empty_like(table), np.empty_like(table)
        value_at[row, told[0][..., None], told[1]] = told_at[1] + 1
        block, pair = np.arange(self._blocks)[:, None], np.arange(_high(self.keys))
        order[row, told[0][..., None], told[1]] = block * keys[:, None, None] + pair
        load = (blocks * keys)[:, None, None]
        labels = np.full_like(input_ids, UNASKED)
        labels[row, asked_at[1]] = table[fact]
        slices = {}
        for name, values in {
            "distance": asked_at[1] - value_at[fact],
            "load": load,
            "age_rank": load - 1 - order[fact],
            "contexts": contexts[:, None, None],
            "keys": keys[:, None, None],
        }.items():
            spread = np.zeros(input_ids.shape, dtype=np.int32)
            spread[row, asked_at[1]] = values
            slices[name] = spread[:, : self.max_length]
        length = 2 + section.length + again.length - (self.queries != "all")  # nothing follows the last question
        present = np.arange(self.max_length) < length[:, None]
        labels = labels[:, : self.max_length]
        ragged = isinstance(self.contexts, tuple) or isinstance(self.keys, tuple)
        return Examples(
            np.where(present, input_ids[:, : self.max_length], PAD),
            labels,
            labels != UNASKED,
            slices,
            present if ragged else None,
        )

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows.tolist()):
            memory: dict[tuple[int, ...], int] = {}
            header: tuple[int, ...] = ()
            asking = False
            for t, token in enumerate(row):
                if token == SEP:
                    asking = True
                elif token >= self._first_context:
                    header = (*header[-(self.levels - 1) :], token) if self.levels > 1 else (token,)
                elif token >= FIRST_VALUE + self.values:
                    if asking:
                        labels[r, t] = memory.get((*header, token), UNASKED)
                    else:
                        memory[*header, token] = row[t + 1]
        return labels

    def word(self, token: int) -> str:
        if token < FIRST_VALUE:
            return {BOS: "|", SEP: "|"}.get(token, ".")
        if token < FIRST_VALUE + self.values:
            return f"v{token - FIRST_VALUE}"
        if token < self._first_context:
            return f"k{token - FIRST_VALUE - self.values}"
        level, which = divmod(token - self._first_context, self._context_pool)
        return f"{chr(ord('c') + level)}{which}:"

    def loads(self) -> list[TaskConfig]:
        """Contexts, then keys, in powers of two as far as the ids reach; rows of drawn sizes have slices instead."""
        if isinstance(self.contexts, tuple) or isinstance(self.keys, tuple):
            return []
        changes = [("contexts", 2**n) for n in range(1, self._context_pool.bit_length()) if 2**n != self.contexts]
        changes += [("keys", 2**n) for n in range(1, self._key_pool.bit_length()) if 2**n != self.keys]
        return self.those_that_fit({option: size} for option, size in changes)

    def _headers(self, rng: Generator, rows: int, contexts: IntArray) -> IntArray:
        """[B, N, L] the context ids that head each block: the block's number written in base C."""
        headers = np.empty((rows, self._blocks, self.levels), dtype=np.int64)
        left = np.arange(self._blocks)[None, :]
        for level in reversed(range(self.levels)):
            names = self._names(rng, rows, _high(self.contexts), self._context_pool)
            which = np.take_along_axis(names, left % contexts[:, None], 1)
            headers[..., level] = self._first_context + level * self._context_pool + which
            left = left // contexts[:, None]
        return headers

    def _names(self, rng: Generator, rows: int, count: int, pool: int) -> IntArray:
        """[B, count] which of a pool's ids a row uses."""
        return distinct(rng, rows, count, pool) if self.sample_ids else np.tile(np.arange(count), (rows, 1))

    @property
    def _blocks(self) -> int:
        return _high(self.contexts) ** self.levels

    @property
    def _key_pool(self) -> int:
        return max(PUBLISHED_POOL, _high(self.keys))

    @property
    def _context_pool(self) -> int:
        return max(PUBLISHED_POOL, _high(self.contexts))

    @property
    def _first_context(self) -> int:
        return FIRST_VALUE + self.values + self._key_pool


def _sizes(rng: Generator, rows: int, size: int | tuple[int, int]) -> IntArray:
    """[B] the size of each row."""
    return rng.integers(_low(size), _high(size) + 1, size=rows)


def _low(size: int | tuple[int, int]) -> int:
    return size[0] if isinstance(size, tuple) else size


def _high(size: int | tuple[int, int]) -> int:
    return size[1] if isinstance(size, tuple) else size
