"""A phonebook, and the number of one of its names (Jelassi et al. 2024, "Repeat After Me", arXiv 2402.01032).

Legend: B rows, E entries, D digits of a number.
"""

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, Examples, IntArray, Split, TaskConfig
from mnemic.tasks.prompts import APPROXIMATE, BYTES_PER_TOKEN, PromptTask, Question
from mnemic.tasks.sampling import distinct
from mnemic.tasks.slices import asking
from mnemic.tasks.words import FIRST_NAMES, LAST_NAMES

__all__ = ["Phonebook"]

DIGITS = 10
SHOWN = 2
_ENTRY = re.compile(r"^([^:\n]+): ([\d-]+)$", re.MULTILINE)
_QUERY = re.compile(r"\n\n([^:\n]+):(?= [\d-]*$|$)")
END, QUESTION, DIGIT = 1, 2, 3
FIRST = DIGIT + 10
LAST = FIRST + len(FIRST_NAMES)


class Phonebook(PromptTask, frozen=True, extra="forbid"):
    """Lines "First Last: number", two of them again as examples, then a name of the book.

    In form=tokens an entry is two names and the digits, and no entry is told again.

    Args:
        entries: E.
        style: numbers as ten digits, or with hyphens as the paper prints them.
    """

    name: ClassVar[str] = "phonebook"

    entries: Annotated[int, Field(ge=3, le=20_000)] = 20
    style: Literal["plain", "hyphen"] = "plain"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.form == "tokens" and self.style == "hyphen":
            raise UsageError("style=hyphen belongs to form=text; leave it out in form=tokens")
        return self

    def closed(self) -> "PhonebookRows":
        return PhonebookRows(self.entries)

    def text_length(self) -> int:
        """Enough for the longest names, at a token for every byte."""
        longest = max(map(len, FIRST_NAMES)) + max(map(len, LAST_NAMES)) + 2
        line = longest + DIGITS + 2 + (3 if self.style == "hyphen" else 1)
        total = (self.entries + SHOWN + 1) * line + 4
        return -(-total // BYTES_PER_TOKEN) if self.tokenizer == APPROXIMATE else total

    @property
    def chance(self) -> float:
        return 0.1

    def information_bits(self) -> float:
        """Every number; names are not counted, for only those of the book are asked."""
        return self.entries * (math.log2(4) + (DIGITS - 1) * math.log2(10))

    def ask(self, rng: Generator, split: Split) -> Question:
        names, numbers = _drawn(rng, 1, self.entries)
        said = [f"{FIRST_NAMES[a]} {LAST_NAMES[b]}" for a, b in names[0].tolist()]
        lines = [f"{name}: {self._written(number)}" for name, number in zip(said, numbers[0].tolist(), strict=True)]
        asked, *shown = rng.permutation(self.entries)[: 1 + SHOWN].tolist()
        book = "\n".join(lines)
        context = f"{book}\n\n" + "\n".join(lines[i] for i in shown)
        start = sum(len(line) + 1 for line in lines[:asked])
        return Question(
            context, f"\n\n{said[asked]}:", "", (self._written(numbers[0, asked].tolist()),),
            ((start, start + len(lines[asked])),),
            {"entries": self.entries, "age_rank": self.entries - 1 - asked, "load": self.entries}, "exact", 24,
        )  # fmt: skip

    def solve(self, text: str) -> tuple[int, tuple[str, ...]]:
        query = _QUERY.search(text)
        if query is None:
            return 1, ()
        book = dict(_ENTRY.findall(text[: query.start()]))
        return query.end(), ((book[query[1]],) if query[1] in book else ())

    def loads(self) -> list[TaskConfig]:
        """Half, twice and four times the entries."""
        sizes = (self.entries // 2, 2 * self.entries, 4 * self.entries)
        return [self.replace(entries=size) for size in sizes if 3 <= size <= 20_000]

    def _written(self, digits: list[int]) -> str:
        number = "".join(map(str, digits))
        return number if self.style == "plain" else f"{number[:3]}-{number[3:6]}-{number[6:]}"


@dataclass(frozen=True)
class PhonebookRows:
    """E times "first last digits end", then a question mark, one of the names, and its digits but the last."""

    entries: int

    @property
    def told(self) -> int:
        return self.entries * (DIGITS + 3)

    @property
    def length(self) -> int:
        return self.told + 2 + DIGITS

    @property
    def vocab_size(self) -> int:
        return LAST + len(LAST_NAMES)

    @property
    def answers(self) -> int:
        return 10

    def check(self) -> None:
        """Any number of entries fits."""

    def bits(self) -> float:
        return self.entries * (math.log2(4) + (DIGITS - 1) * math.log2(10))

    def row_bits(self) -> float:
        return self.bits()

    def draw(self, rng: Generator, rows: int) -> Examples:
        names, numbers = _drawn(rng, rows, self.entries)
        tokens = np.concatenate(
            [names + np.array([FIRST, LAST]), DIGIT + numbers, np.full((rows, self.entries, 1), END)], axis=2
        )  # fmt: skip
        asked = rng.integers(self.entries, size=(rows, 1))
        of = np.take_along_axis(tokens, asked[..., None], 1)[:, 0]
        answer = of[:, 2:-1]
        question = [np.full((rows, 1), QUESTION), of[:, :2], answer[:, :-1]]
        ids = np.concatenate([tokens.reshape(rows, -1), *question], axis=1)
        digit = np.arange(DIGITS)
        at = self.told + 2 + digit
        stored = asked * (DIGITS + 3) + 2 + digit
        return asking(
            ids, at, answer, distance=at - stored, load=self.entries, age_rank=self.entries - 1 - asked, digit=digit
        )

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        step = DIGITS + 3
        for r, row in enumerate(rows.tolist()):
            book = {tuple(row[t : t + 2]): row[t + 2 : t + 2 + DIGITS] for t in range(0, self.told, step)}
            for place, digit in enumerate(book.get(tuple(row[self.told + 1 : self.told + 3]), [])):
                labels[r, self.told + 2 + place] = digit
        return labels

    def word(self, token: int) -> str:
        if token < DIGIT:
            return {END: ";", QUESTION: "?"}.get(token, ".")
        if token < FIRST:
            return str(token - DIGIT)
        return FIRST_NAMES[token - FIRST] if token < LAST else LAST_NAMES[token - LAST]


def _drawn(rng: Generator, rows: int, entries: int) -> tuple[IntArray, IntArray]:
    """[B, E, 2] different names by number, [B, E, D] digits, the first of them from 6 to 9."""
    which = distinct(rng, rows, entries, len(FIRST_NAMES) * len(LAST_NAMES))
    names = np.stack(np.divmod(which, len(LAST_NAMES)), axis=2)
    numbers = rng.integers(10, size=(rows, entries, DIGITS))
    numbers[..., 0] = 6 + rng.integers(4, size=(rows, entries))
    return names, numbers
