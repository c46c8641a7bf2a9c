"""Short contexts: to repeat a list, to recall a fact of one or two sentences, to say whether one sentence follows.

They guard what a model could do before it was taught to recall: asked before and after, `comparing` says what changed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final, Literal, get_args

from mnemic.errors import UsageError, nearest
from mnemic.teaching.rwr.evaluation.items import EvaluationItem, Passage, Turn
from mnemic.teaching.rwr.evaluation.miniature_tasks import RELATIONS, fact_sentence, invented_name

__all__ = ["KINDS", "OPPOSITES", "ShortKind", "short_tasks"]

ShortKind = Literal["copy", "recall", "qa"]
KINDS: Final[tuple[ShortKind, ...]] = get_args(ShortKind)

_WORDS: Final = (
    "amber", "basket", "candle", "dolphin", "ember", "feather", "garden", "hammer", "island", "jacket", "kettle",
    "lantern", "marble", "needle", "orchard", "pepper", "quarry", "ribbon", "saddle", "thunder", "velvet", "window",
)  # fmt: skip
_PAIRS: Final = (("older", "younger"), ("taller", "shorter"), ("faster", "slower"), ("richer", "poorer"))
OPPOSITES: Final = MappingProxyType(dict([*_PAIRS, *((second, first) for first, second in _PAIRS)]))
"""What two people can be to each other; if one is older, the other is younger."""


def short_tasks(
    count: int, *, seed: int = 0, kinds: tuple[ShortKind, ...] = KINDS, start: int = 0
) -> Iterator[EvaluationItem]:
    """Tasks start … start + count - 1, their kinds in turn; task i depends on seed, kinds and i alone."""
    for name in kinds:
        if name not in KINDS:
            raise UsageError(f"kind '{name}' of a short task is not known{nearest(name, KINDS)}")
    if count < 1 or not kinds:
        raise UsageError(f"count {count} and kinds {kinds} of short tasks must be at least 1 each")
    for number in range(start, start + count):
        kind = kinds[number % len(kinds)]
        text, question, answer, form = _MAKERS[kind](random.Random(f"short/{seed}/{kind}/{number}"))
        context = (Passage("text 1", (Turn("", text),)),)
        yield EvaluationItem(f"short-{kind}-{number}", context, question, (answer,), kind, "short", metric="exact",
                             evidence=("text 1",), instruction=form)  # fmt: skip


def _copy(rng: random.Random) -> tuple[str, str, str, str]:
    words = ", ".join(rng.sample(_WORDS, rng.randrange(4, 9)))
    return words, "Which words does the list have, in order?", words, "Answer with the words alone, as they stand."


def _recall(rng: random.Random) -> tuple[str, str, str, str]:
    """One fact, or two of which one is asked for."""
    relation, entities = rng.choice(RELATIONS), {invented_name(rng) for _ in range(rng.randrange(1, 3))}
    facts = [(entity, relation, invented_name(rng)) for entity in sorted(entities)]
    rng.shuffle(facts)
    asked = rng.choice(facts)
    text = " ".join(fact_sentence(*fact) for fact in facts)
    return text, f"What is the {relation} of {asked[0]}?", asked[2], "Answer with one word."


def _qa(rng: random.Random) -> tuple[str, str, str, str]:
    """The question turns the sentence round, swaps its word, or both, or neither: it follows after both or neither."""
    word = rng.choice(list(OPPOSITES))
    first = invented_name(rng)
    second = invented_name(rng, but=first)
    turned, swapped = rng.random() < 0.5, rng.random() < 0.5
    people = (second, first) if turned else (first, second)
    asked = f"Is {people[0]} {OPPOSITES[word] if swapped else word} than {people[1]}?"
    return f"{first} is {word} than {second}.", asked, "yes" if turned == swapped else "no", "Answer yes or no."


_MAKERS: Final = dict(zip(KINDS, (_copy, _recall, _qa), strict=True))
