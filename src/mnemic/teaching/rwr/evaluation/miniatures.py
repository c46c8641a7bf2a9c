"""LongMemEval in small: dated chat histories of any length, made by rule, with its kinds of questions.

Every history holds what the question needs, the same said of other people, and chatter. What `rule_reader` reads from
a history is the answer, and without the evidence it is not: tests hold that for all kinds.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mnemic.errors import UsageError, nearest
from mnemic.teaching.rwr.canon import UNANSWERABLE
from mnemic.teaching.rwr.evaluation.items import EvaluationItem, Judging, Passage, Turn
from mnemic.teaching.tokens import ApproximateTokens

__all__ = ["TYPES", "miniatures"]

TYPES: Final = (
    "single-session-user", "single-session-assistant", "single-session-preference", "multi-session",
    "knowledge-update", "temporal-reasoning", "abstention",
)  # fmt: skip

_ATTRIBUTES: Final = (
    "dentist", "landlord", "guitar teacher", "gym", "street", "home town", "first car", "locker code", "bike", "bank",
    "favourite tea", "lucky number", "neighbour", "running club", "book club", "phone model",
)  # fmt: skip
_OTHERS: Final = ("sister", "cousin", "colleague", "uncle", "flatmate", "coach")
_PROJECTS: Final = ("balcony garden", "slide show", "marathon plan", "bread starter", "tax return", "wardrobe")
_TASTES: Final = ("music", "films", "food", "novels", "holidays", "board games")
_GOODS: Final = ("lamps", "plants", "tickets", "notebooks", "chairs", "candles")
_DEEDS: Final = (
    "planted the fig tree", "repaired the bicycle", "painted the kitchen", "adopted the cat", "sold the piano",
    "visited the museum", "started the course", "bought the tent",
)  # fmt: skip
_CHATTER: Final = (
    ("user", "It rained all day and the bus was late again."),
    ("assistant", "That sounds tiring; shall we look at something lighter?"),
    ("user", "Can you explain how tides work in two sentences?"),
    ("assistant", "The moon pulls the sea towards it, and the turning earth carries the bulge along."),
    ("user", "I read a long article about bridges this morning."),
    ("assistant", "Bridges carry load by bending, hanging or pressing; which kind was it about?"),
)  # fmt: skip
_NAMES: Final = ("ba", "co", "di", "fe", "ga", "ho", "ju", "ki", "lo", "mu", "na", "po", "ri", "su", "ta", "ve", "zo")
_FORM: Final = f"Answer briefly, or '{UNANSWERABLE}' if the history does not say."
_START: Final = datetime(2024, 1, 8, 9, 0)
_DATE: Final = "%Y/%m/%d (%a) %H:%M"
_JUDGING: Final[dict[str, Judging]] = {
    "temporal-reasoning": "temporal", "knowledge-update": "update", "abstention": "abstention",
}  # fmt: skip


@dataclass(frozen=True)
class _Case:
    """Evidence in order, one text a session, with who says it; and what else would be said that must not mislead."""

    question: str
    answer: str
    evidence: tuple[tuple[str, str], ...]
    distractors: tuple[str, ...] = ()


def miniatures(
    count: int, *, length: int = 1000, seed: int = 0, types: tuple[str, ...] = TYPES, start: int = 0
) -> Iterator[EvaluationItem]:
    """Questions start … start + count - 1, their kinds in turn; question i depends on length, seed, types and i alone.

    Args:
        length: tokens of a history by `ApproximateTokens`, to within one session, where the evidence takes no more.
    """
    for name in types:
        if name not in TYPES:
            raise UsageError(f"type '{name}' of a miniature is not known{nearest(name, TYPES)}")
    if count < 1 or length < 1 or not types:
        raise UsageError(f"count {count}, length {length} and types {types} of miniatures must be at least 1 each")
    for number in range(start, start + count):
        yield _item(number, types[number % len(types)], length, seed)


def _item(number: int, kind: str, length: int, seed: int) -> EvaluationItem:
    rng = random.Random(f"miniature/{seed}/{length}/{kind}/{number}")
    case = _CASES[kind](rng)
    evidence = [[Turn(role, text, True), _reply(rng, role)] for role, text in case.evidence]
    tokens = ApproximateTokens()
    size = sum(tokens.count(_plain(turns)) for turns in evidence) + 12 * len(evidence)
    fillers: list[list[Turn]] = []
    while not fillers or size < length:
        fillers.append(_filler(rng, case, len(fillers)))
        size += tokens.count(_plain(fillers[-1])) + 12
    places = sorted(rng.sample(range(len(fillers) + len(evidence)), len(evidence)))
    context, found, moment = [], [], _START
    waiting, others = iter(evidence), iter(fillers)
    for position in range(len(fillers) + len(evidence)):
        moment += timedelta(hours=rng.randrange(20, 60))
        is_evidence = position in places
        session = tuple(next(waiting) if is_evidence else next(others))
        context.append(Passage(f"session {position + 1}", session, date=moment.strftime(_DATE)))
        found += [context[-1].id] if is_evidence else []
    answer = case.answer
    if kind == "temporal-reasoning":
        answer = str(_days_between([context[place] for place in places]))
    return EvaluationItem(
        id=f"{kind}-{length}-{number}",
        context=tuple(context),
        question=case.question,
        answers=(answer,),
        question_type=kind,
        category="miniature",
        is_abstention=kind == "abstention",
        evidence=() if kind == "abstention" else tuple(found),
        question_date=(moment + timedelta(days=1)).strftime(_DATE),
        metric="exact",
        judging=_JUDGING.get(kind, "fact"),
        instruction=_FORM,
    )


def _days_between(sessions: list[Passage]) -> int:
    dates = [datetime.strptime(session.date or "", _DATE).date() for session in sessions]
    return (dates[-1] - dates[0]).days


def _filler(rng: random.Random, case: _Case, number: int) -> list[Turn]:
    turns = [Turn(*_CHATTER[at + half]) for at in rng.sample(range(0, len(_CHATTER), 2), 2) for half in (0, 1)]
    said = case.distractors[number] if number < len(case.distractors) else _of_another(rng, rng.choice(_ATTRIBUTES))
    return [*turns[:2], Turn("user", said), *turns[2:]]


def _of_another(rng: random.Random, attribute: str) -> str:
    return f"My {rng.choice(_OTHERS)}'s {attribute} is {_name(rng)}."


def _reply(rng: random.Random, role: str) -> Turn:
    if role == "assistant":
        return Turn("user", "Thank you, I will think about it.")
    return Turn("assistant", rng.choice(("Noted.", "Good to know.", "Thanks for telling me.")))


def _name(rng: random.Random) -> str:
    return "".join(rng.choices(_NAMES, k=3)).capitalize()


def _plain(turns: list[Turn]) -> str:
    return "\n".join(f"{turn.role}: {turn.text}" for turn in turns)


def _user_fact(rng: random.Random) -> _Case:
    attribute, value = rng.choice(_ATTRIBUTES), _name(rng)
    evidence = (("user", f"By the way, my {attribute} is {value}."),)
    return _Case(f"What is my {attribute}?", value, evidence, (_of_another(rng, attribute),))


def _assistant_fact(rng: random.Random) -> _Case:
    project, other = rng.sample(_PROJECTS, 2)
    value = _name(rng)
    evidence = (("assistant", f"For your {project} I recommend {value}."),)
    return _Case(f"What did you recommend for my {project}?", value, evidence, (f"The shop showed me {other} kits.",))


def _preference(rng: random.Random) -> _Case:
    taste, liked = rng.choice(_TASTES), _name(rng)
    evidence = (("user", f"When it comes to {taste}, I love {liked}."),)
    disliked = f"When it comes to {taste}, my {rng.choice(_OTHERS)} loves {_name(rng)}."
    return _Case(f"Which {taste} should you suggest to me?", liked, evidence, (disliked,))


def _count(rng: random.Random) -> _Case:
    goods = rng.choice(_GOODS)
    numbers = rng.sample(range(2, 20), rng.randrange(2, 4))
    evidence = tuple(("user", f"Today I bought {number} {goods}.") for number in numbers)
    other = f"My {rng.choice(_OTHERS)} bought {rng.randrange(2, 20)} {goods}."
    return _Case(f"How many {goods} did I buy in all?", str(sum(numbers)), evidence, (other,))


def _update(rng: random.Random) -> _Case:
    attribute, old, new = rng.choice(_ATTRIBUTES), "Old" + _name(rng).lower(), _name(rng)
    evidence = (("user", f"By the way, my {attribute} is {old}."), ("user", f"Since today my {attribute} is {new}."))
    return _Case(f"What is my {attribute}?", new, evidence, (_of_another(rng, attribute),))


def _days(rng: random.Random) -> _Case:
    first, last = rng.sample(_DEEDS, 2)
    evidence = (("user", f"Today I {first}."), ("user", f"Today I {last}."))
    other = f"Today my {rng.choice(_OTHERS)} {last}."
    question = f"How many days passed between the day I {first} and the day I {last}?"
    return _Case(question, "", evidence, (other,))


def _unanswerable(rng: random.Random) -> _Case:
    asked, told = rng.sample(_ATTRIBUTES, 2)
    evidence = (("user", f"By the way, my {told} is {_name(rng)}."),)
    return _Case(f"What is my {asked}?", UNANSWERABLE, evidence, (_of_another(rng, asked),))


_CASES: Final = dict(
    zip(TYPES, (_user_fact, _assistant_fact, _preference, _count, _update, _days, _unanswerable), strict=True)
)
