"""Text in which something is hidden, as long as a limit of tokens allows.

The kinds of RULER (Hsieh et al. 2024, arXiv 2404.06654); in place of its essays prose from a grammar, or your text.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.random import Generator, Philox

from mnemic.errors import UsageError
from mnemic.tasks.text_files import read_documents
from mnemic.tasks.words import ADJECTIVES, NOUNS

__all__ = ["DEPTHS", "Fitted", "Haystack", "Kind", "corpus_digest", "corpus_sentences", "fitted", "spread_depths"]

Kind = Literal["noise", "prose", "corpus"]
Placing = Callable[[int], Sequence[int]]
DEPTHS = 40

_NOISE = ("The lamp is warm. ", "The road is long. ", "Rain falls on the roof. ", "We walk there and come home again.")
_VERBS = (
    "admired avoided carried counted covered crossed described drew entered feared filled followed forgot found heard "
    "held hid kept lifted liked lost met missed moved needed noticed offered opened painted passed praised pulled "
    "pushed reached remembered repaired saw sent served showed sold studied touched turned visited wanted watched"
)
_WAYS = (
    "after the storm,at first light,at the market,behind the wall,before noon,beside the water,by the old gate,"
    "for a while,in silence,in the end,in the rain,near the harbour,on the way home,once again,that winter,"
    "under the trees,with great care,without a word"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass
class Haystack:
    """Sentences without end, the n-th always the same.

    Args:
        kind: "noise": the same four sentences over and over; "prose": from a grammar; "corpus": those of a text, from
            a random one on and round again.
        seed: of what is random in it.
    """

    kind: Kind
    seed: int
    corpus: str | None = None
    _told: list[str] = field(default_factory=list)
    _rng: Generator | None = None

    @property
    def joint(self) -> str:
        """What stands between its sentences."""
        return "\n" if self.kind == "noise" else " "

    def __call__(self, number: int) -> str:
        if self.kind == "noise":
            return "".join(_NOISE)
        if self.kind == "corpus":
            sentences = corpus_sentences(self.corpus or "")
            return sentences[(self.seed + number) % len(sentences)]
        self._rng = self._rng or Generator(Philox(self.seed))
        while len(self._told) <= number:
            self._told += _prose(self._rng, 64)
        return self._told[number]


@dataclass(frozen=True)
class Fitted:
    """A context with what was hidden in it.

    Attributes:
        spans: [start, end) in characters, for each thing hidden, in the order they were given.
        units: pieces of haystack.
        depths: percent of the haystack before each thing hidden.
    """

    context: str
    spans: tuple[tuple[int, int], ...]
    units: int
    depths: tuple[int, ...]


def fitted(
    unit: Callable[[int], str],
    joint: str,
    hidden: Sequence[str],
    place: Placing,
    frame: Callable[[str], str],
    count: Callable[[str], int],
    limit: int,
) -> Fitted:
    """The most pieces of haystack with which the whole prompt has at most `limit` tokens.

    Args:
        unit: the n-th piece.
        hidden: what is put between the pieces.
        place: number of pieces -> before which of them (0 … n) each hidden thing stands.
        frame: the prompt around a context.

    Raises:
        UsageError: not even one piece fits.
    """

    def built(units: int) -> Fitted:
        places = list(place(units))
        at: dict[int, list[int]] = {}
        for index, where in enumerate(places):
            at.setdefault(where, []).append(index)
        parts, spans, end = list[str](), dict[int, tuple[int, int]](), 0
        for number in range(units + 1):
            for index in at.get(number, []):
                spans[index] = (end, end + len(hidden[index]))
                parts.append(hidden[index])
                end += len(hidden[index]) + len(joint)
            if number < units:
                parts.append(unit(number))
                end += len(parts[-1]) + len(joint)
        depths = tuple(round(100 * where / units) if units else 0 for where in places)
        return Fitted(joint.join(parts), tuple(spans[i] for i in range(len(hidden))), units, depths)

    def size(units: int) -> int:
        return count(frame(built(units).context))

    base, sample = size(1), 32
    if base > limit:
        raise UsageError(f"the prompt alone has {base} tokens, more than the limit of {limit}; use a larger length")
    step = max(1.0, (size(sample) - base) / (sample - 1)) if limit > base else 1.0
    low, high = 1, max(2, 1 + int((limit - base) / step * 1.25))
    while size(high) <= limit:
        low, high = high, 2 * high
    while high - low > 1:  # low fits, high does not; a guess by the mean piece is nearly right
        guess = low + round((limit - size(low)) / step) if high - low > 8 else (low + high) // 2
        middle = min(max(guess, low + 1), high - 1)
        low, high = (middle, high) if size(middle) <= limit else (low, middle)
    return built(low)


def corpus_digest(path: str) -> str:
    """sha256 of the sentences of a text."""
    return hashlib.sha256("\n".join(corpus_sentences(path)).encode()).hexdigest()


@lru_cache(maxsize=4)
def corpus_sentences(path: str) -> tuple[str, ...]:
    """
    Raises:
        UsageError: there is no text.
    """
    texts = (document.text.decode("utf-8", errors="replace") for document in read_documents(path))
    found = tuple(" ".join(s.split()) for text in texts for s in _SENTENCE_END.split(text) if s.strip())
    if len(found) < 2:
        raise UsageError(f"corpus '{path}' has {len(found)} sentences; a haystack needs more text")
    return found


def _prose(rng: Generator, count: int) -> list[str]:
    words = {
        name: [pool[i] for i in rng.integers(len(pool), size=2 * count)]
        for name, pool in (("a", ADJECTIVES), ("n", NOUNS), ("v", _VERBS.split()), ("w", _WAYS.split(",")))
    }
    told = []
    for i in range(count):
        first, second = 2 * i, 2 * i + 1
        who = f"the {words['a'][first]} {words['n'][first]}"
        whom = f"the {words['a'][second]} {words['n'][second]}"
        way = words["w"][first]
        if i % 2:
            told.append(f"{way[:1].upper()}{way[1:]}, {who} {words['v'][first]} {whom}.")
        else:
            told.append(f"{who[:1].upper()}{who[1:]} {words['v'][first]} {whom} {way}.")
    return told


def spread_depths(rng: Generator, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """[count] different ones of forty depths from 0 to 1, at random."""
    return np.linspace(0, 1, DEPTHS)[rng.permutation(DEPTHS)[:count]]
