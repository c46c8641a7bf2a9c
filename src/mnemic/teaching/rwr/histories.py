"""Long histories of a circle of people, in which facts are told, changed and buried in talk: made by rule, so that
every answer, its date and its evidence are known. Free material for notes, and for tests of recall at any length.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import product
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from mnemic.catalogue import parse_spec
from mnemic.errors import UsageError
from mnemic.options import validated
from mnemic.teaching.rwr.canon import UNANSWERABLE
from mnemic.teaching.rwr.history_phrases import ATTRIBUTES, FIRST_NAMES, LAST_NAMES, Attribute, small_talk
from mnemic.teaching.tokens import ApproximateTokens, TokenCounter

__all__ = ["HISTORIES", "QUESTION_KINDS", "Fact", "History", "HistoryRules", "Question", "QuestionKind", "Turn",
           "histories", "history_rules"]  # fmt: skip

HISTORIES = "histories"

QuestionKind = Literal["single", "update", "temporal", "multi", "absent"]
QUESTION_KINDS: tuple[QuestionKind, ...] = get_args(QuestionKind)

_TURNS_PER_SESSION = 12
_TOKENS_PER_FACT = 80
_START = date(2023, 1, 9)


class HistoryRules(BaseModel):
    """Sizes of histories."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(10, ge=1, description="histories")
    tokens: int = Field(1000, ge=100, description="least tokens of a history; it ends with the turn that reaches them")
    facts: int = Field(0, ge=0, description="facts told, changes included; 0: one per 80 tokens")
    updates: float = Field(0.25, ge=0, le=0.5, description="share of the facts that change an earlier one")
    questions: int = Field(5, ge=1, description="questions of a history, of all kinds in turn")
    style: Literal["dialogue", "notes"] = Field("dialogue", description="turns of speakers, or entries of a diary")
    seed: int = Field(0, description="of everything")


@dataclass(frozen=True)
class Fact:
    """What is said once. `turn` is where; `before` is the turn of the fact that it changes."""

    person: str
    attribute: Attribute
    value: str
    turn: int
    day: date
    before: int | None = None


@dataclass(frozen=True)
class Turn:
    """One line; `opens` says that a session of another day begins with it."""

    text: str
    day: date
    opens: bool


@dataclass(frozen=True)
class Question:
    """A question about a history, and the truth.

    Attributes:
        evidence: turns that the answer follows from, oldest first; none where it is not in the history.
        earlier: turns that say what has been changed since.
    """

    kind: QuestionKind
    query: str
    answer: str
    evidence: tuple[int, ...]
    earlier: tuple[int, ...] = ()


@dataclass(frozen=True)
class History:
    """`context` is the whole as text: one line a turn, under headings with dates."""

    id: str
    turns: tuple[Turn, ...]
    facts: tuple[Fact, ...]
    questions: tuple[Question, ...]

    @property
    def context(self) -> str:
        return "\n".join(f"{_heading(turn.day)}\n{turn.text}" if turn.opens else turn.text for turn in self.turns)

    def heading_of(self, turn: int) -> str:
        """The heading under which a turn stands."""
        return _heading(self.turns[turn].day)


def history_rules(source: str) -> HistoryRules:
    """The rules that "histories" or, say, "histories:count=20,tokens=4000" names."""
    _, options = parse_spec(source)
    return validated(f"source '{source}'", HistoryRules, options)


def histories(rules: HistoryRules, counter: TokenCounter | None = None) -> Iterator[History]:
    """Histories, one after the other. Their number changes none of them.

    Raises:
        UsageError: more facts are wanted than the people can have.
    """
    counter = counter or ApproximateTokens()
    for index in range(rules.count):
        yield _history(rules, f"history-{rules.seed}-{index}", counter)


def _heading(day: date) -> str:
    return f"[{_written(day)}]"


def _written(day: date) -> str:
    return f"{day.day} {day:%B} {day.year}"


def _history(rules: HistoryRules, name: str, counter: TokenCounter) -> History:
    rng = random.Random(name)
    told = _told(rules, rng)
    lines = [_said(fact, rules.style, rng) for fact in told]
    length = counter.count("\n".join(lines))
    talk: list[str] = []
    per_turn = counter.count(f"{_heading(_START)}\n") / _TURNS_PER_SESSION
    while length + per_turn * (len(lines) + len(talk)) < rules.tokens or not talk:
        talk.append(small_talk(rng, rules.style))
        length += counter.count(talk[-1] + "\n")
    places = set(rng.sample(range(len(lines) + len(talk)), len(lines)))
    turns: list[Turn] = []
    facts: list[Fact] = []
    latest: dict[tuple[str, str], Fact] = {}
    day = _START + timedelta(days=rng.randrange(300))
    for number in range(len(lines) + len(talk)):
        opens = number % _TURNS_PER_SESSION == 0
        day += timedelta(days=rng.randrange(1, 9)) if opens else timedelta()
        if number in places:
            person, attribute, value = told[len(facts)]
            former = latest.get((person, attribute.name))
            fact = Fact(person, attribute, value, number, day, former.turn if former else None)
            turns.append(Turn(lines[len(facts)], day, opens))
            facts.append(fact)
            latest[person, attribute.name] = fact
        else:
            turns.append(Turn(talk.pop(), day, opens))
    return History(name, tuple(turns), tuple(facts), tuple(_questions(facts, rules.questions, rng)))


def _told(rules: HistoryRules, rng: random.Random) -> list[tuple[str, Attribute, str]]:
    """Who says what, in order; what changes comes after what it changes."""
    wanted = rules.facts or max(5, rules.tokens // _TOKENS_PER_FACT)
    changes = int(wanted * rules.updates)
    slots = [(f"{a} {b}", attribute) for a, b in product(FIRST_NAMES, LAST_NAMES) for attribute in ATTRIBUTES]
    if wanted - changes > len(slots) // 2:
        raise UsageError(f"facts is {wanted}; a history has room for {len(slots) // 2} things that can be told")
    chosen = rng.sample(slots, wanted - changes)
    order = [slot for slot in chosen for _ in range(2 if slot in set(chosen[:changes]) else 1)]
    rng.shuffle(order)
    last: dict[tuple[str, str], str] = {}
    told = []
    for person, attribute in order:
        value = attribute.draw(rng, last.get((person, attribute.name)))
        last[person, attribute.name] = value
        told.append((person, attribute, value))
    return told


def _said(fact: tuple[str, Attribute, str], style: str, rng: random.Random) -> str:
    person, attribute, value = fact
    if style == "notes":
        return attribute.third_person(person, value)
    return f"{person}: {attribute.first_person(value, rng)}"


def _questions(facts: list[Fact], count: int, rng: random.Random) -> Iterator[Question]:
    """Kinds in turn, each fact asked about at most once while there are others."""
    changed = {fact.before for fact in facts if fact.before is not None}
    current = [fact for fact in facts if fact.turn not in changed]
    known = {(fact.person, fact.attribute.name) for fact in facts}
    rng.shuffle(current)
    plain = [fact for fact in current if fact.before is None] or current
    updated = [fact for fact in current if fact.before is not None]
    for number in range(count):
        kind = QUESTION_KINDS[number % len(QUESTION_KINDS)]
        turn = number // len(QUESTION_KINDS)
        if kind == "absent":
            yield _absent(known, facts, rng)
        elif kind == "update" and updated:
            fact = updated[turn % len(updated)]
            assert fact.before is not None
            yield Question(kind, fact.attribute.question(fact.person), fact.value, (fact.turn,), (fact.before,))
        elif kind == "temporal":
            fact = plain[(2 * turn + 1) % len(plain)]
            asked = fact.attribute.when(fact.person, fact.value)
            yield Question(kind, asked, _written(fact.day), (fact.turn,))
        elif kind == "multi" and len(plain) > 1:
            a, b = plain[(2 * turn) % len(plain)], plain[(2 * turn + 1) % len(plain)]
            asked = f"{a.attribute.question(a.person)} And: {b.attribute.question(b.person)}"
            yield Question(kind, asked, f"{a.value} and {b.value}", tuple(sorted((a.turn, b.turn))))
        else:
            fact = plain[turn % len(plain)]
            yield Question("single", fact.attribute.question(fact.person), fact.value, (fact.turn,))


def _absent(known: set[tuple[str, str]], facts: list[Fact], rng: random.Random) -> Question:
    """About somebody of the history, something that was never said."""
    while True:
        person, attribute = rng.choice(facts).person, rng.choice(ATTRIBUTES)
        if (person, attribute.name) not in known:
            return Question("absent", attribute.question(person), UNANSWERABLE, ())
