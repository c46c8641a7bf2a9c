"""Variable tracking: values that pass from variable to variable, as in RULER (Hsieh et al. 2024, arXiv 2404.06654)."""

import math
import re
from typing import Annotated, ClassVar, Literal, Self

from numpy.random import Generator, Philox
from pydantic import Field, model_validator

from mnemic.errors import UsageError
from mnemic.tasks.base import Split, TaskConfig
from mnemic.tasks.haystacks import Haystack, fitted
from mnemic.tasks.prompts import PromptTask, Question, token_counter
from mnemic.tasks.sampling import distinct
from mnemic.tasks.variable_chains import ChainRows

__all__ = ["VariableTracking"]

ANSWER_TOKENS = 30
LETTERS = 5
_STATEMENT = re.compile(r"^VAR ([A-Z]{5}) = (?:VAR )?(\w+)$", re.MULTILINE)
_QUERY = re.compile(r"\nWhich variables have the value (\d+)\? They are:")


class VariableTracking(PromptTask, frozen=True, extra="forbid"):
    """Chains "x1 = 7, x2 = x1, …" told in turns; asked are all variables of one chain by its value, or a value.

    In form=text the statements stand in noise, and the answer names every variable of the first chain.

    Args:
        chains: chains.
        hops: copies after the first variable of a chain.
        length: tokens of prompt and answer in form=text, at most.
        ask_for: in form=tokens: for the value of a "variable", or for the variables of a "chain" in their order.
        variables, values: how many there are in form=tokens.
    """

    name: ClassVar[str] = "variable-tracking"

    chains: Annotated[int, Field(ge=1, le=64)] = 2
    hops: Annotated[int, Field(ge=0, le=64)] = 4
    length: Annotated[int, Field(ge=16, le=1 << 23)] = 4096
    ask_for: Literal["variable", "chain"] = "variable"
    variables: Annotated[int, Field(ge=1, le=1 << 16)] = 64
    values: Annotated[int, Field(ge=2, le=1 << 16)] = 32

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.form == "text" and self.ask_for == "variable" and "ask_for" in self.model_fields_set:
            raise UsageError("ask_for=variable belongs to form=tokens; in form=text whole chains are asked for")
        return self

    def closed(self) -> ChainRows:
        return ChainRows(self.chains, self.hops, self.variables, self.values, self.ask_for)

    def text_length(self) -> int:
        return self.length

    @property
    def chance(self) -> float:
        return 1 / self.closed().answers if self.form == "tokens" else 1 / 26

    def information_bits(self) -> float:
        if self.form == "tokens":
            return self.closed().bits()
        return self.chains * ((self.hops + 1) * LETTERS * math.log2(26) + math.log2(9e4))

    def ask(self, rng: Generator, split: Split) -> Question:
        links = self.hops + 1
        names = _different(rng, self.chains * links)
        values = [str(10_000 + value) for value in distinct(rng, 1, self.chains, 90_000)[0].tolist()]
        chains = [names[c * links : (c + 1) * links] for c in range(self.chains)]
        turns = rng.permutation([c for c in range(self.chains) for _ in range(links)]).tolist()
        told, hidden = [0] * self.chains, list[str]()
        for c in turns:
            place = told[c]
            source = f"VAR {chains[c][place - 1]}" if place else values[c]
            hidden.append(f"VAR {chains[c][place]} = {source}")
            told[c] += 1
        seed = int(rng.integers(2**62))
        query = f"\nWhich variables have the value {values[0]}?"
        prefix = " They are:"
        count, room = token_counter(self.tokenizer), ANSWER_TOKENS
        room = max(room, count(self.answer_text(chains[0])))

        def place_of(units: int) -> list[int]:
            slots = Generator(Philox(seed)).permutation(units + 1)
            return sorted(int(slots[i % len(slots)]) for i in range(len(hidden)))

        head = "Variables are set in the text below. Follow them; the text around them means nothing.\n"
        hay = Haystack("noise", seed)
        found = fitted(
            hay, hay.joint, hidden, place_of, lambda context: head + context + query + prefix, count, self.length - room
        )
        evidence = [found.spans[i] for i, c in enumerate(turns) if c == 0]
        return Question(
            head + found.context, query, prefix, tuple(chains[0]),
            tuple((a + len(head), b + len(head)) for a, b in evidence),
            {"hops": self.hops, "length": self.length}, "all", room,
        )  # fmt: skip

    def solve(self, text: str) -> tuple[int, tuple[str, ...]]:
        query = _QUERY.search(text)
        if query is None:
            return 1, ()
        value_of: dict[str, str] = {}
        for statement in _STATEMENT.finditer(text, 0, query.start()):
            value_of[statement[1]] = value_of.get(statement[2], statement[2])
        return query.end(), tuple(name for name, value in value_of.items() if value == query[1])

    def loads(self) -> list[TaskConfig]:
        """Fewer and more hops, then chains, as far as there are names."""
        changes = [("hops", n) for n in (1, 2, 4, 8) if n != self.hops]
        changes += [("chains", n) for n in (1, 2, 4) if n != self.chains]
        return self.those_that_fit({option: value} for option, value in changes)


def _different(rng: Generator, count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(chr(ord("A") + i) for i in rng.integers(26, size=LETTERS))] = None
    return list(found)
