"""HELMET's categories in small: contexts of any length, made by rule, scored as HELMET scores them.

In "cite" an answer names the document that it is from; that document is one of the references, so that no inference
model is needed.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from mnemic.errors import UsageError, nearest
from mnemic.teaching.rwr.evaluation.helmet import CATEGORIES, RANKING_FORM
from mnemic.teaching.rwr.evaluation.items import EvaluationItem, Passage, Turn
from mnemic.teaching.tokens import ApproximateTokens

__all__ = ["LABEL_WORDS", "RELATIONS", "fact_sentence", "invented_name", "miniature_tasks"]

RELATIONS: Final = ("founder", "capital", "anthem", "emblem", "largest lake", "patron")
_PLACES: Final = ("harbour", "library", "market", "tower", "garden", "station", "theatre")
_SYLLABLES: Final = ("bar", "cor", "del", "fen", "gor", "hal", "jun", "kel", "lum", "mor", "nel", "por", "ruk", "sel")
LABEL_WORDS: Final = ("river", "engine", "violin", "harvest")
"""What a text of "icl" is about decides its label; each text has one of these words."""

T = TypeVar("T")


def miniature_tasks(
    count: int, *, length: int = 1000, seed: int = 0, categories: tuple[str, ...] = CATEGORIES, start: int = 0
) -> Iterator[EvaluationItem]:
    """Tasks start … start + count - 1, their categories in turn; task i depends on the options and i alone.

    Args:
        length: tokens of a context by `ApproximateTokens`, to within one document.
    """
    for name in categories:
        if name not in CATEGORIES:
            raise UsageError(f"category '{name}' of a miniature is not known{nearest(name, CATEGORIES)}")
    if count < 1 or length < 1 or not categories:
        raise UsageError(f"count {count}, length {length}, categories {categories} must be at least 1 each")
    for number in range(start, start + count):
        category = categories[number % len(categories)]
        rng = random.Random(f"miniature task/{seed}/{length}/{category}/{number}")
        yield _MAKERS[category](f"{category}-{length}-{number}", rng, length)


def _recall(name: str, rng: random.Random, length: int) -> EvaluationItem:
    """The JSON object of key-value retrieval, a line per pair."""
    pairs = _until(length, lambda: (_uuid(rng), _uuid(rng)), lambda unit: f'"{unit[0]}": "{unit[1]}",\n', least=2)
    key, value = rng.choice(pairs)
    text = json.dumps(dict(pairs), indent=1)
    passage = Passage("document 1", (Turn("", text),))
    question = f"Which value has the key {key} in the JSON object?"
    return EvaluationItem(name, (passage,), question, (value,), "json_kv", "recall", evidence=(passage.id,))


def _rag(name: str, rng: random.Random, length: int) -> EvaluationItem:
    documents, (entity, relation, value), at = _facts(rng, length)
    question = f"What is the {relation} of {entity}?"
    return EvaluationItem(name, documents, question, (value,), "rag", "rag", evidence=(documents[at].id,))


def _cite(name: str, rng: random.Random, length: int) -> EvaluationItem:
    documents, (entity, relation, value), at = _facts(rng, length)
    question = f"What is the {relation} of {entity}, and which document says so?"
    form = "Answer with what it is and the number of the document in brackets, such as 'Name [2]'."
    return EvaluationItem(name, documents, question, (value, f"[{at + 1}]"), "cite", "cite", metric="recall",
                          evidence=(documents[at].id,), instruction=form)  # fmt: skip


def _rerank(name: str, rng: random.Random, length: int) -> EvaluationItem:
    """Label 2: says it; 1: of the same place, says something else; 0: of another place."""
    documents, (entity, relation, _), at = _facts(rng, length)
    titled = tuple(Passage(f"ID: {n}", d.turns, title=f"ID: {n}") for n, d in enumerate(documents, start=1))
    labels = [2 if n == at else int(f" of {entity} " in d.text) for n, d in enumerate(titled)]
    answers = tuple(f"{n} {label}" for n, label in enumerate(labels, start=1))
    return EvaluationItem(name, titled, f"What is the {relation} of {entity}?", answers, "rerank", "rerank",
                          metric="ndcg@10", evidence=(titled[at].id,), instruction=RANKING_FORM)  # fmt: skip


def _longqa(name: str, rng: random.Random, length: int) -> EvaluationItem:
    """A story of people who go about, and where one of them was last: he goes twice, at any time."""
    who = invented_name(rng)
    people = [invented_name(rng, but=who) for _ in range(4)]
    moves = _until(length, lambda: (rng.choice(people), rng.choice(_PLACES)), lambda m: _sentence(*m), least=4)
    early, late = sorted(rng.choices(range(len(moves) + 1), k=2))
    before, where = rng.sample(_PLACES, 2)
    moves.insert(late, (who, where))
    moves.insert(early, (who, before))
    passage = Passage("document 1", (Turn("", "\n".join(_sentence(*move) for move in moves)),))
    return EvaluationItem(name, (passage,), f"Where was {who} last?", (f"the {where}",), "longqa", "longqa",
                          metric="rouge_l", evidence=(passage.id,))  # fmt: skip


def _summ(name: str, rng: random.Random, length: int) -> EvaluationItem:
    """All that a report says of one place, among what it says of others."""
    documents, (entity, _, _), _ = _facts(rng, length)
    about = [d for d in documents if f" of {entity} " in d.text]
    summary = " ".join(d.turns[0].text for d in about)
    question = f"Repeat in order every sentence about {entity}."
    return EvaluationItem(name, documents, question, (summary,), "summ", "summ", metric="rouge_l",
                          evidence=tuple(d.id for d in about))  # fmt: skip


def _icl(name: str, rng: random.Random, length: int) -> EvaluationItem:
    """Labels are numbers, permuted for each task; every label comes once in each round of examples."""
    numbers = rng.sample(range(len(LABEL_WORDS)), len(LABEL_WORDS))
    label = dict(zip(LABEL_WORDS, numbers, strict=True))
    order: list[str] = []

    def example() -> tuple[str, str]:
        if not order:
            order.extend(rng.sample(LABEL_WORDS, len(LABEL_WORDS)))
        word = order.pop()
        return word, f"The {word} near {invented_name(rng)} pleased {invented_name(rng)}."

    shown = _until(length, example, lambda unit: f"{unit[1]}\nlabel: 0", least=len(LABEL_WORDS))
    passages = tuple(
        Passage(f"example {n}", (Turn("", f"{text}\nlabel: {label[word]}"),)) for n, (word, text) in enumerate(shown, 1)
    )
    asked = rng.choice(LABEL_WORDS)
    question = f"Which label has this text: The {asked} near {invented_name(rng)} pleased {invented_name(rng)}."
    gold = tuple(p.id for p, (word, _) in zip(passages, shown, strict=True) if word == asked)
    return EvaluationItem(name, passages, question, (str(label[asked]),), "icl", "icl", metric="exact", evidence=gold)


_MAKERS: Final = dict(zip(CATEGORIES, (_recall, _rag, _rerank, _cite, _longqa, _summ, _icl), strict=True))


def _facts(rng: random.Random, length: int) -> tuple[tuple[Passage, ...], tuple[str, str, str], int]:
    """Documents of one fact each, the fact that is asked for, and where it is; some of the others share its place."""
    entity, relation, value = invented_name(rng), rng.choice(RELATIONS), invented_name(rng)
    facts = [(entity, other, invented_name(rng)) for other in RELATIONS if other != relation][:3]

    def other() -> tuple[str, str, str]:
        return (
            invented_name(rng, but=entity),
            relation if rng.random() < 0.5 else rng.choice(RELATIONS),
            invented_name(rng),
        )

    facts += _until(length, other, lambda fact: fact_sentence(*fact) + "[document 10]", least=2)
    rng.shuffle(facts)
    at = rng.randrange(len(facts) + 1)
    facts.insert(at, (entity, relation, value))
    documents = tuple(
        Passage(f"document {n}", (Turn("", fact_sentence(*fact)),), title=f"document {n}")
        for n, fact in enumerate(facts, 1)
    )
    return documents, (entity, relation, value), at


def _until(length: int, make: Callable[[], T], text: Callable[[T], str], *, least: int) -> list[T]:
    """Units until their texts have `length` tokens."""
    tokens, size = ApproximateTokens(), 0
    made: list[T] = []
    while len(made) < least or size < length:
        made.append(make())
        size += tokens.count(text(made[-1]))
    return made


def fact_sentence(entity: str, relation: str, value: str) -> str:
    return f"The {relation} of {entity} is {value}, as old letters tell."


def _sentence(person: str, place: str) -> str:
    return f"{person} went to the {place}."


def invented_name(rng: random.Random, but: str = "") -> str:
    while (word := "".join(rng.choices(_SYLLABLES, k=3)).capitalize()) == but:
        pass
    return word


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
