"""Needles in a haystack: a few statements hidden in a long text, and asked for.

The presets of RULER (Hsieh et al. 2024, arXiv 2404.06654); sentences and words are our own.
"""

import hashlib
import math
import re
from typing import Annotated, Any, ClassVar, Literal, Self

from numpy.random import Generator, Philox
from pydantic import Field, model_validator

from mnemic.errors import UsageError
from mnemic.tasks.base import Split, TaskConfig
from mnemic.tasks.haystacks import DEPTHS, Haystack, corpus_digest, fitted, spread_depths
from mnemic.tasks.needle_rows import NeedleRows
from mnemic.tasks.prompts import PromptTask, Question, token_counter
from mnemic.tasks.words import ADJECTIVES, NOUNS

__all__ = ["PRESETS", "Needle"]

Kind = Literal["words", "number", "uuid"]
ANSWER_TOKENS = 128
_STATEMENT = re.compile(r"One of the special values for (\S+) is (\S+)\.")
_QUERY = re.compile(r"\nWhat are all the special values for (.+?) in the text above\? The special values for .+? are")

PRESETS: dict[str, dict[str, Any]] = {
    "single_1": {"haystack": "noise", "key_type": "words", "value_type": "number"},
    "single_2": {"haystack": "prose", "key_type": "words", "value_type": "number"},
    "single_3": {"haystack": "prose", "key_type": "words", "value_type": "uuid"},
    "multikey_1": {"haystack": "prose", "key_type": "words", "value_type": "number", "keys": 4},
    "multikey_2": {"haystack": "needles", "key_type": "words", "value_type": "number"},
    "multikey_3": {"haystack": "needles", "key_type": "uuid", "value_type": "uuid"},
    "multivalue": {"haystack": "prose", "key_type": "words", "value_type": "number", "values": 4},
    "multiquery": {"haystack": "prose", "key_type": "words", "value_type": "number", "keys": 4, "queries": 4},
}
"""RULER's eight; "prose" stands for its essays."""


class Needle(PromptTask, frozen=True, extra="forbid"):
    """Statements "the special value for KEY is VALUE" in a haystack; asked are all values of some keys.

    In form=tokens a statement is a key and a value, and the haystack tokens of its own or other statements.

    Args:
        preset: RULER's name of the setting; the options below change parts of it.
        length: tokens of the prompt with room for the answer (128, or as many as it has), at most.
        haystack: "noise", "prose", "corpus" (see corpus), or "needles": statements about other keys.
        corpus: a text of yours, a file or folder, in place of prose.
        key_type, value_type: "words" (adjective-noun), "number" (7 digits) or "uuid".
        keys: keys that are told with needles of their own.
        values: values told of each.
        queries: keys that are asked for.
        depth: percent of the haystack before the first asked needle; unset: at random.
        pool: keys, and values, that there are in form=tokens.
    """

    name: ClassVar[str] = "needle"

    preset: Literal[
        "single_1", "single_2", "single_3", "multikey_1", "multikey_2", "multikey_3", "multivalue", "multiquery"
    ] = "single_2"
    length: Annotated[int, Field(ge=16, le=1 << 23)] = 4096
    haystack: Literal["noise", "prose", "corpus", "needles"] | None = None
    corpus: str | None = None
    key_type: Kind | None = None
    value_type: Kind | None = None
    keys: Annotated[int, Field(ge=1, le=DEPTHS)] | None = None
    values: Annotated[int, Field(ge=1, le=DEPTHS)] | None = None
    queries: Annotated[int, Field(ge=1)] | None = None
    depth: Annotated[int, Field(ge=0, le=100)] | None = None
    pool: Annotated[int, Field(ge=2, le=1 << 16)] = 512

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self._queries > self._keys:
            raise UsageError(f"queries={self._queries} must be at most keys={self._keys}")
        if self._keys * self._values > DEPTHS:
            raise UsageError(
                f"keys={self._keys} and values={self._values} make more than the {DEPTHS} depths there are"
            )
        if self.haystack == "corpus" and self.corpus is None:
            raise UsageError("haystack=corpus: name the text with corpus=PATH")
        if self.corpus is not None and self._haystack not in ("prose", "corpus"):
            raise UsageError(f"corpus={self.corpus} does nothing in haystack={self._haystack}")
        return self

    def text_length(self) -> int:
        return self.length

    def hash(self) -> str:
        """Of the options, and of the text that the corpus names."""
        if self.corpus is None:
            return super().hash()
        return hashlib.sha256(f"{super().hash()} {corpus_digest(self.corpus)}".encode()).hexdigest()

    @property
    def chance(self) -> float:
        if self.form == "tokens":
            return 1 / self.closed().answers
        return {"number": 0.1, "uuid": 1 / 16, "words": 1 / 26}[self._value_type]

    def information_bits(self) -> float:
        if self.form == "tokens":
            return self.closed().bits()
        each = {"number": math.log2(9e6), "uuid": 122.0, "words": math.log2(len(ADJECTIVES) * len(NOUNS))}
        return self._keys * self._values * each[self._value_type]

    def closed(self) -> NeedleRows:
        return NeedleRows(
            self.length, self._keys, self._values, self._queries, self._haystack == "needles", self.pool
        )  # fmt: skip

    def ask(self, rng: Generator, split: Split) -> Question:
        count, made = token_counter(self.tokenizer), _Strings(rng)
        keys = [made(self._key_type) for _ in range(self._keys)]
        values = {key: [made(self._value_type) for _ in range(self._values)] for key in keys}
        needles = [(key, value) for key in keys for value in values[key]]
        asked = keys[: self._queries]
        named = asked[0] if len(asked) == 1 else f"{', '.join(asked[:-1])} and {asked[-1]}"
        query = f"\nWhat are all the special values for {named} in the text above?"
        prefix = f" The special values for {named} are"
        depths, seed = spread_depths(rng, len(needles)), int(rng.integers(2**62))
        order = rng.permutation(len(needles))
        depths = depths[order]
        if self.depth is not None:
            depths[0] = self.depth / 100
        answers = tuple(value for key in asked for value in values[key])
        room = max(ANSWER_TOKENS, count(self.answer_text(answers)))
        if self._haystack == "needles":
            others = _Distractors(seed, self._key_type, self._value_type, frozenset(keys))
            unit, joint = others, "\n"
        else:
            kind = "corpus" if self.corpus is not None else self._haystack
            hay = Haystack(kind, seed, self.corpus)  # type: ignore[arg-type]
            unit, joint = hay, hay.joint  # type: ignore[assignment]

        def place(units: int) -> list[int]:
            if self._haystack == "prose" or self._haystack == "corpus" or self.depth is not None:
                return [round(depth * units) for depth in depths]
            slots = Generator(Philox(seed)).permutation(units + 1)
            return [int(slots[i % len(slots)]) for i in range(len(needles))]

        hidden = [_statement(key, value) for key, value in needles]
        head = "Some special values are hidden in the text below. Remember them; they will be asked for.\n"
        found = fitted(
            unit, joint, hidden, place, lambda context: head + context + query + prefix, count, self.length - room
        )
        wanted = [i for i, (key, _) in enumerate(needles) if key in asked]
        in_order = sorted(wanted, key=lambda i: (asked.index(needles[i][0]), found.spans[i]))
        evidence = tuple((a + len(head), b + len(head)) for a, b in (found.spans[i] for i in in_order))
        return Question(
            head + found.context, query, prefix, tuple(needles[i][1] for i in in_order), evidence,
            {"depth": found.depths[wanted[0]], "length": self.length}, "all", room,
        )  # fmt: skip

    def solve(self, text: str) -> tuple[int, tuple[str, ...]]:
        query = _QUERY.search(text)
        if query is None:
            return 1, ()
        told: dict[str, list[str]] = {}
        for statement in _STATEMENT.finditer(text, 0, query.start()):
            told.setdefault(statement[1], []).append(statement[2])
        asked = re.split(r", | and ", query[1])
        return query.end(), tuple(value for key in asked for value in told.get(key, []))

    def loads(self) -> list[TaskConfig]:
        """Half, twice and four times the length."""
        lengths = (self.length // 2, 2 * self.length, 4 * self.length)
        return self.those_that_fit({"length": length} for length in lengths)

    def _option(self, name: str, otherwise: Any = 1) -> Any:
        given = getattr(self, name)
        return PRESETS[self.preset].get(name, otherwise) if given is None else given

    @property
    def _haystack(self) -> str:
        return str(self._option("haystack"))

    @property
    def _key_type(self) -> Kind:
        return self._option("key_type")

    @property
    def _value_type(self) -> Kind:
        return self._option("value_type")

    @property
    def _keys(self) -> int:
        return int(self._option("keys", max(1, self.queries or 1)))

    @property
    def _values(self) -> int:
        return int(self._option("values"))

    @property
    def _queries(self) -> int:
        return int(self._option("queries"))


class _Strings:
    """Different keys and values, each one new."""

    def __init__(self, rng: Generator, taken: frozenset[str] = frozenset()) -> None:
        self._rng, self._taken = rng, set(taken)

    def __call__(self, kind: Kind) -> str:
        while (drawn := self._drawn(kind)) in self._taken:
            pass
        self._taken.add(drawn)
        return drawn

    def _drawn(self, kind: Kind) -> str:
        if kind == "number":
            return str(self._rng.integers(10**6, 10**7))
        if kind == "words":
            first, second = self._rng.integers(500, size=2)
            return f"{ADJECTIVES[first]}-{NOUNS[second]}"
        digits = bytearray(self._rng.bytes(16))
        digits[6], digits[8] = digits[6] & 0x0F | 0x40, digits[8] & 0x3F | 0x80  # version 4 of RFC 9562
        text = digits.hex()
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


class _Distractors:
    """Statements about keys that nobody asks for, the n-th always the same."""

    def __init__(self, seed: int, key_type: Kind, value_type: Kind, taken: frozenset[str]) -> None:
        self._strings = _Strings(Generator(Philox(seed)), taken)
        self._types, self._told = (key_type, value_type), list[str]()

    def __call__(self, number: int) -> str:
        while len(self._told) <= number:
            self._told.append(_statement(*(self._strings(kind) for kind in self._types)))
        return self._told[number]


def _statement(key: str, value: str) -> str:
    return f"One of the special values for {key} is {value}."
