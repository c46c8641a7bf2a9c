"""Key facts in noise: what a model can answer of a context that is gone, directly or by writing a note first.

A context tells values of keys among noise; then two keys are asked and the sum of their values modulo 10 is the answer,
or "unanswerable" where one of them was never told. A note first writes both facts out. Made for Recall with Reasoning
(Ma et al. 2025, arXiv 2505.03320): the state must hold more facts as contexts grow, and the question comes after them.

Legend: B rows, L tokens of a context, F facts, N noise tokens.
"""

import math
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, Examples, IntArray, TaskConfig
from mnemic.tasks.sampling import distinct
from mnemic.tasks.tokens import TokenTask

__all__ = ["ANSWER", "EOS", "NONE", "NOTE", "UNANSWERABLE", "KeyFacts"]

PAD, QUESTION, NOTE, ANSWER, EOS, NONE, UNANSWERABLE = range(7)
NOISE, VALUE = 7, 23
NOISES, VALUES, KEYS = 16, 10, 64
KEY = VALUE + VALUES
TOKENS_PER_FACT = 8
_WORDS = {PAD: ".", QUESTION: "Q", NOTE: "S", ANSWER: "A", EOS: "EOS", NONE: "none", UNANSWERABLE: "unanswerable"}


def _read_range(value: object) -> object:
    """ "16-64" as (16, 64)."""
    return tuple(value.split("-")) if isinstance(value, str) and "-" in value else value


Tokens = Annotated[int, Field(ge=2 * TOKENS_PER_FACT, multiple_of=TOKENS_PER_FACT, le=1 << 20)]


class KeyFacts(TokenTask, frozen=True, extra="forbid"):
    """L tokens with facts "key value" among noise, then Q key key, then what is wanted and its text.

    Direct: A y EOS. With a note: S key v key v A y EOS, "none" for a key that was never told. What is wanted, A or S,
    is given; trained is all that follows it, asked is y. Contexts are the same whatever is wanted, and wherever the
    query stands.

    Args:
        length: L, or a range such as 16-64 from which every row draws a multiple of 8.
        facts: F; unset: one for every eight tokens.
        form: "direct", "note", or "mixed": each row is one or the other.
        notes: share of the rows with a note, in form=mixed.
        absent: chance that an asked key was never told, as far as there are keys left.
        absent_direct: the same in rows without a note; unset: as in the others.
        query: where Q key key stand, "after" the context or "before" it.
    """

    name: ClassVar[str] = "key-facts"
    version: ClassVar[int] = 1

    length: Annotated[Tokens | tuple[Tokens, Tokens], BeforeValidator(_read_range)] = 64
    facts: Annotated[int, Field(ge=2, le=KEYS)] | None = None
    form: Literal["direct", "note", "mixed"] = "direct"
    notes: Annotated[float, Field(ge=0, le=1)] = 0.7
    absent: Annotated[float, Field(ge=0, le=1)] = 0.3
    absent_direct: Annotated[float, Field(ge=0, le=1)] | None = None
    query: Literal["after", "before"] = "after"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        low, high = self._lengths
        if low > high:
            raise UsageError(f"length={low}-{high} must go from the smaller to the larger")
        if self._facts_in(high) > KEYS:
            raise UsageError(f"length={high} has {self._facts_in(high)} facts, there are {KEYS} keys; set facts")
        if 2 * self._facts_in(low) > low:
            raise UsageError(f"facts={self.facts} need {2 * self._facts_in(low)} tokens; length={low} is too short")
        return self

    @property
    def vocab_size(self) -> int:
        return KEY + KEYS

    @property
    def max_length(self) -> int:
        return self._lengths[1] + (6 if self.form == "direct" else 11)

    @property
    def chance(self) -> float:
        """Of the commonest answer: a digit, or that there is none."""
        share, absent = self._share_of_notes, self._chances_of_absence
        never = sum(p * (1 - (1 - absent[note]) ** 2) for note, p in ((1, share), (0, 1 - share)))
        return max((1 - never) / VALUES, never)

    def information_bits(self) -> float:
        """All facts of the largest row: any two of them may be asked."""
        return self._facts_in(self._lengths[1]) * math.log2(VALUES * KEYS)

    def row_bits(self) -> float:
        low = self._lengths[0]
        return 2 * math.log2(KEYS) + math.log2(VALUES) * self._facts_in(low) + 4 * (low - 2 * self._facts_in(low))

    def prompt_length(self, length: int) -> int:
        """Tokens before what must be written: context, question, and what is wanted."""
        return length + 4

    def draw(self, rng: Generator, rows: int) -> Examples:
        low, high = self._lengths
        lengths = TOKENS_PER_FACT * rng.integers(low // TOKENS_PER_FACT, high // TOKENS_PER_FACT + 1, size=rows)
        with_note = rng.random(rows) < self._share_of_notes
        absent = np.take(self._chances_of_absence, with_note.astype(np.int64))
        ids = np.full((rows, self.max_length), PAD, np.int64)
        labels = np.full_like(ids, UNASKED)
        trained = np.zeros(ids.shape, bool)
        slices = {name: np.zeros(ids.shape, np.int32) for name in ("facts", "absent")}
        for length in np.unique(lengths).tolist():
            mine = np.flatnonzero(lengths == length)
            context, asked, values = self._told(rng, absent[mine], length)
            answer = np.where((values < 0).any(1), UNANSWERABLE, VALUE + values.sum(1) % VALUES)
            said = np.where(values < 0, NONE, VALUE + values)
            end = self.prompt_length(length)
            ids[mine, : end - 1] = self._read(context, asked)
            for note, tail in ((True, _note(asked, said, answer)), (False, _direct(answer))):
                chosen = with_note[mine] == note
                if not chosen.any():
                    continue
                of = mine[chosen]
                ids[of, end - 1] = NOTE if note else ANSWER
                ids[of, end : end + tail.shape[1]] = tail[chosen]
                at = end + tail.shape[1] - 3  # the token before the answer
                labels[of, at] = answer[chosen]
                trained[of, end - 1 : end + tail.shape[1] - 1] = True
                slices["facts"][of, at] = self._facts_in(length)
                slices["absent"][of, at] = (values[chosen] < 0).sum(1)
        return Examples(ids, labels, trained, slices, ids != PAD)

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows.tolist()):
            end = next(place for place, token in enumerate(row) if token in (NOTE, ANSWER))
            at = row.index(QUESTION)
            told = {a: b - VALUE for a, b in pairwise(row[:end]) if a >= KEY and VALUE <= b < KEY}
            found = [told.get(key) for key in row[at + 1 : at + 3]]
            first, second = found
            answer = UNANSWERABLE if first is None or second is None else VALUE + (first + second) % VALUES
            labels[r, end if row[end] == ANSWER else end + 5] = answer
        return labels

    def word(self, token: int) -> str:
        if token in _WORDS:
            return _WORDS[token]
        if token < VALUE:
            return f"n{token - NOISE}"
        return str(token - VALUE) if token < KEY else f"k{token - KEY}"

    def loads(self) -> list[TaskConfig]:
        """Twice and four times the length, facts growing with it as far as there are keys."""
        longer = [factor * self._lengths[1] for factor in (2, 4)]
        return [
            self.replace(length=length)
            for length in longer
            if length <= 1 << 20 and (self.facts or length // TOKENS_PER_FACT) <= KEYS
        ]

    def rows_identity(self) -> str:
        return self.replace(form="direct", notes=0.7, absent=0.3, absent_direct=None, query="after").hash()

    @property
    def _share_of_notes(self) -> float:
        return {"direct": 0.0, "note": 1.0, "mixed": self.notes}[self.form]

    @property
    def _chances_of_absence(self) -> tuple[float, float]:
        """Without a note, and with one."""
        return self.absent if self.absent_direct is None else self.absent_direct, self.absent

    @property
    def _lengths(self) -> tuple[int, int]:
        return self.length if isinstance(self.length, tuple) else (self.length, self.length)

    def _facts_in(self, length: int) -> int:
        return self.facts or length // TOKENS_PER_FACT

    def _read(self, context: IntArray, asked: IntArray) -> IntArray:
        """[B, L + 3] the context and the query, in their order."""
        query = np.concatenate([np.full((len(asked), 1), QUESTION), KEY + asked], axis=1)
        return np.concatenate([context, query] if self.query == "after" else [query, context], axis=1)

    def _told(
        self, rng: Generator, absent: NDArray[np.floating[Any]], length: int
    ) -> tuple[IntArray, IntArray, IntArray]:
        """Contexts [B, L], the asked keys [B, 2], and their values [B, 2] or -1, given each row's chance of those."""
        rows, facts = len(absent), self._facts_in(length)
        units = length - facts  # a fact is one unit of two tokens, every noise token one of its own
        keys, values = distinct(rng, rows, min(facts + 2, KEYS), KEYS), rng.integers(VALUES, size=(rows, facts))
        is_fact = rng.random((rows, units)).argsort(axis=1) < facts
        size = 1 + is_fact
        start = size.cumsum(axis=1) - size
        context = NOISE + rng.integers(NOISES, size=(rows, length))
        at = start[is_fact].reshape(rows, facts)
        np.put_along_axis(context, at, KEY + keys[:, :facts], 1)
        np.put_along_axis(context, at + 1, VALUE + values, 1)
        asked = distinct(rng, rows, 2, facts)
        never = (rng.random((rows, 2)) < absent[:, None]) & (np.arange(2) < keys.shape[1] - facts)
        index = np.where(never, facts + np.arange(2), asked)
        found = np.where(never, -1, np.take_along_axis(values, asked, 1))
        return context, np.take_along_axis(keys, np.minimum(index, keys.shape[1] - 1), 1), found


def _note(asked: IntArray, said: IntArray, answer: IntArray) -> IntArray:
    columns = [KEY + asked[:, 0], said[:, 0], KEY + asked[:, 1], said[:, 1], np.full(len(answer), ANSWER), answer]
    return np.stack([*columns, np.full(len(answer), EOS)], axis=1)


def _direct(answer: IntArray) -> IntArray:
    return np.stack([answer, np.full(len(answer), EOS)], axis=1)
