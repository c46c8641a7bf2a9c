"""Which words come most often? The aggregation tasks of RULER (Hsieh et al. 2024, arXiv 2404.06654).

Legend: B rows, W different words, K words that are asked for, T time.
"""

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, Examples, IntArray, Split, TaskConfig
from mnemic.tasks.prompts import PromptTask, Question, token_counter
from mnemic.tasks.sampling import distinct, permutations
from mnemic.tasks.slices import asking
from mnemic.tasks.words import ADJECTIVES, NOUNS

__all__ = ["FrequentWords"]

SHORT = 4096
CODED = 6
ZETA_2 = math.pi**2 / 6
NOISE = "..."
_LISTED = re.compile(r"(\d+)\. (\S+)")
_COMMON_QUERY = re.compile(r"\nWhich (\d+) words come most often in the list above\? They are:")
_ZIPF_QUERY = re.compile(r"\nWithout the dots, which (\d+) words come most often in the text above\? They are:")
_SINGLE = tuple(sorted({*ADJECTIVES, *NOUNS}))


class FrequentWords(PromptTask, frozen=True, extra="forbid"):
    """A shuffled list of words; asked are those that come most often.

    Kinds:
        common: RULER's CWE: ten words often, all others rarely, in a numbered list.
        zipf: RULER's FWE: coded words whose counts fall as 1/rank²; the most frequent one, "...", is not asked for.

    Args:
        kind: see above.
        length: tokens of prompt and answer in form=text; of the words and the answers in form=tokens.
        top: K; unset: 10 common words, 3 of zipf.
        often, rarely: how often common and other words come; unset: 30 and 3, below 4,096 tokens 6 and 1.
        words: words that there are in form=tokens.
    """

    name: ClassVar[str] = "frequent-words"

    kind: Literal["common", "zipf"] = "common"
    length: Annotated[int, Field(ge=16, le=1 << 20)] = 4096
    top: Annotated[int, Field(ge=1, le=50)] | None = None
    often: Annotated[int, Field(ge=2)] | None = None
    rarely: Annotated[int, Field(ge=1)] | None = None
    words: Annotated[int, Field(ge=2, le=1 << 16)] = 512

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind == "zipf" and (self.often or self.rarely):
            raise UsageError("options 'often' and 'rarely' belong to kind=common; zipf counts by rank")
        if self._rarely >= self._often:
            raise UsageError(f"rarely={self._rarely} must be less than often={self._often}")
        return self

    def closed(self) -> "CountedRows":
        if self.kind == "zipf":
            return CountedRows(_zipf_counts(self.length - self._top, self.words, self._top), self._top, 1, self.words)
        others = (self.length - self._top - self._top * self._often) // self._rarely
        others = max(0, min(others, self.words - self._top))
        counts = (self._often,) * self._top + (self._rarely,) * others
        return CountedRows(counts, self._top, 0, self.words)

    def text_length(self) -> int:
        return self.length

    @property
    def chance(self) -> float:
        return 1 / self.closed().answers if self.form == "tokens" else 1 / 26

    def information_bits(self) -> float | None:
        return None

    def ask(self, rng: Generator, split: Split) -> Question:
        count = token_counter(self.tokenizer)
        seed = int(rng.integers(2**62))
        built = self._common if self.kind == "common" else self._zipf
        found = _largest(lambda size: built(Generator(Philox(seed)), size, count), self.length, count)
        if found is None:
            raise UsageError(f"{self.spec()}: length={self.length} is too short for {self._top} words; use more")
        return found

    def solve(self, text: str) -> tuple[int, tuple[str, ...]]:
        if query := _COMMON_QUERY.search(text):
            words = [word for _, word in _LISTED.findall(text[: query.start()])]
        elif query := _ZIPF_QUERY.search(text):
            words = text[: query.start()].partition("\n")[2].split()
        else:
            return 1, ()
        counted = Counter(word for word in words if word != NOISE)
        return query.end(), tuple(word for word, _ in counted.most_common(int(query[1])))

    def loads(self) -> list[TaskConfig]:
        """Half, twice and four times the length."""
        lengths = (self.length // 2, 2 * self.length, 4 * self.length)
        return self.those_that_fit({"length": length} for length in lengths)

    @property
    def _top(self) -> int:
        return self.top or (10 if self.kind == "common" else 3)

    @property
    def _often(self) -> int:
        return self.often or (6 if self.length < SHORT else 30)

    @property
    def _rarely(self) -> int:
        return self.rarely or (1 if self.length < SHORT else 3)

    def _common(self, rng: Generator, size: int, count: Callable[[str], int]) -> Question | None:
        """With `size` rare words."""
        different = _words(rng, self._top + size)
        told = different[: self._top] * self._often + different[self._top :] * self._rarely
        told = [told[i] for i in rng.permutation(len(told))]
        answers = tuple(word for word, _ in Counter(told).most_common(self._top))
        context = "Some words of this list come often, most of them rarely.\n"
        context += " ".join(f"{number}. {word}" for number, word in enumerate(told, start=1))
        query = f"\nWhich {self._top} words come most often in the list above?"
        return self._question(context, query, answers, count, 120)

    def _zipf(self, rng: Generator, size: int, count: Callable[[str], int]) -> Question | None:
        """With `size` words in all; None where counts that must differ do not."""
        counts = _zipf_counts(size, max(self._top + 2, self.length // 50), self._top)
        if not _is_clear(counts, self._top):
            return None
        coded = dict.fromkeys([NOISE])
        while len(coded) < len(counts):
            coded["".join(chr(ord("a") + i) for i in rng.integers(26, size=CODED))] = None
        told = [word for word, times in zip(coded, counts, strict=True) for _ in range(times)]
        told = [told[i] for i in rng.permutation(len(told))]
        context = "Below is a text in coded words; the dots mean nothing.\n" + " ".join(told)
        query = f"\nWithout the dots, which {self._top} words come most often in the text above?"
        return self._question(context, query, tuple(list(coded)[1 : 1 + self._top]), count, 50)

    def _question(
        self, context: str, query: str, answers: tuple[str, ...], count: Callable[[str], int], room: int
    ) -> Question:
        room = max(room, count(self.answer_text(answers)))
        return Question(context, query, " They are:", answers, (), {"length": self.length}, "all", room)


@dataclass(frozen=True)
class CountedRows:
    """Words with fixed counts in random order, a question mark, then the K most frequent ones: by count, and
    those that come equally often by where they come first.

    Args:
        counts: of every word told, falling.
        top: K.
        skipped: most frequent words that are not asked for.
        words: that there are.
    """

    counts: tuple[int, ...]
    top: int
    skipped: int
    words: int

    @property
    def told(self) -> int:
        return sum(self.counts)

    @property
    def length(self) -> int:
        return self.told + self.top

    @property
    def vocab_size(self) -> int:
        return 2 + self.words

    @property
    def answers(self) -> int:
        return self.words

    def check(self) -> None:
        if len(self.counts) > self.words:
            raise UsageError(f"words={self.words} must be at least {len(self.counts)}")
        if not _is_clear(self.counts, self.top) and self.skipped:
            raise UsageError(f"with {self.told} words the {self.top} most frequent ones are not clear; use more length")
        if not self.skipped and len(self.counts) <= self.top:
            raise UsageError(f"{self.told} words leave no room for other words than the {self.top}; use more length")

    def bits(self) -> float:
        return self.top * math.log2(self.words)

    def row_bits(self) -> float:
        return len(self.counts) * math.log2(self.words / len(self.counts)) + self.told

    def draw(self, rng: Generator, rows: int) -> Examples:
        which = np.repeat(np.arange(len(self.counts)), self.counts)
        place = permutations(rng, rows, self.told)
        order = which[place]
        name = 2 + distinct(rng, rows, len(self.counts), self.words)
        told = np.take_along_axis(name, order, 1)
        asked = self._asked(place)
        answers = np.take_along_axis(name, asked, 1)
        ids = np.concatenate([told, np.ones((rows, 1), np.int64), answers[:, :-1]], axis=1)
        at = self.told + np.arange(self.top)
        last = np.stack([self.told - 1 - (order[:, ::-1] == asked[:, [k]]).argmax(axis=1) for k in range(self.top)], 1)
        rank = np.broadcast_to(np.arange(1, self.top + 1), asked.shape)
        return asking(ids, at, answers, distance=at - last, load=len(self.counts), age_rank=0, rank=rank)

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows.tolist()):
            found = Counter(row[: self.told]).most_common(self.skipped + self.top)[self.skipped :]
            for place, (word, _) in enumerate(found):
                labels[r, self.told + place] = word
        return labels

    def word(self, token: int) -> str:
        return "." if token == 0 else "?" if token == 1 else f"w{token - 2}"

    def _asked(self, place: IntArray) -> IntArray:
        """[B, K] which words are asked for, from the place in the list that each place of a row holds."""
        if self.skipped:
            return np.tile(self.skipped + np.arange(self.top), (len(place), 1))
        common = place < sum(self.counts[: self.top])
        word = np.where(common, place // self.counts[0], self.top)
        first = np.stack([(word == k).argmax(axis=1) for k in range(self.top)], axis=1)
        return first.argsort(axis=1)


def _is_clear(counts: tuple[int, ...], top: int) -> bool:
    """Whether the most frequent word, the `top` after it and the rest all differ in count."""
    head = counts[: top + 2]
    return len(counts) > top + 1 and all(a > b for a, b in pairwise(head))


def _zipf_counts(size: int, words: int, top: int) -> tuple[int, ...]:
    """`size` split as 1/rank² over at most that many words, whole numbers; what is left goes to the first."""
    counts = [int(size / (ZETA_2 * rank**2)) for rank in range(1, words + 1)]
    counts = [n for n in counts if n]
    return (counts[0] + size - sum(counts), *counts[1:]) if counts else ()


def _words(rng: Generator, count: int) -> list[str]:
    """Different words; compounds where there are not enough single ones."""
    if count <= len(_SINGLE):
        return [_SINGLE[i] for i in rng.permutation(len(_SINGLE))[:count]]
    which = distinct(rng, 1, count, len(ADJECTIVES) * len(NOUNS))[0].tolist()
    return [f"{ADJECTIVES[i // len(NOUNS)]}-{NOUNS[i % len(NOUNS)]}" for i in which]


def _largest(built: Callable[[int], Question | None], limit: int, count: Callable[[str], int]) -> Question | None:
    """The question of the largest size that fits, by doubling and halving; sizes that make none count as too small."""

    def is_too_long(question: Question | None) -> bool:
        return question is not None and count(question.text) + question.max_tokens > limit

    low, high, best = 0, 1, None
    while not is_too_long(question := built(high)):
        best, low, high = question or best, high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        question = built(middle)
        if is_too_long(question):
            high = middle
        else:
            best, low = question or best, middle
    return best
