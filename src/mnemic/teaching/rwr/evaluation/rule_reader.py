"""A reader of miniatures and short tasks that needs no model: it knows how they are written, and reads what it holds.

With the whole context it answers all of them, which proves that the contexts suffice. With the last tokens alone it
is what a memory that is too small would be, and shows what a benchmark of them can tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from mnemic.errors import UsageError
from mnemic.teaching.rwr.canon import UNANSWERABLE
from mnemic.teaching.rwr.evaluation.answerers import Answered
from mnemic.teaching.rwr.evaluation.items import EvaluationItem
from mnemic.teaching.rwr.evaluation.miniature_tasks import LABEL_WORDS
from mnemic.teaching.rwr.evaluation.short_tasks import OPPOSITES
from mnemic.teaching.tokens import ApproximateTokens

__all__ = ["RuleReader"]


class RuleReader:
    """Args:
    recent: how many tokens of the end of a context it holds, whole lines only; None holds all.
    """

    def __init__(self, recent: int | None = None) -> None:
        if recent is not None and recent < 1:
            raise UsageError(f"recent is {recent}; a reader holds at least 1 token")
        self._recent = recent

    @property
    def settings(self) -> dict[str, Any]:
        return {"reader": "rules", "recent": self._recent}

    def __call__(self, item: EvaluationItem) -> Answered:
        """The answer that follows from what it holds; that there is none, where nothing does."""
        held = self._held(item.context_text)
        rules = _RANKING if item.metric == "ndcg@10" else _RULES
        for asked, read in rules:
            if found := re.search(asked, item.question):
                return Answered(read(held, *found.groups()) or UNANSWERABLE)
        raise UsageError(f"item '{item.id}' is not generated: the rules do not know the question '{item.question}'")

    def _held(self, text: str) -> str:
        if self._recent is None:
            return text
        tokens, held, size = ApproximateTokens(), [], 0
        for line in reversed(text.splitlines()):
            size += tokens.count(line) + 1
            if size > self._recent:
                break
            held.append(line)
        return "\n".join(reversed(held))


def _attribute(text: str, attribute: str) -> str | None:
    found = re.findall(rf"^user: (?:By the way, |Since today )my {attribute} is (\w+)\.$", text, re.MULTILINE)
    return found[-1] if found else None


def _recommended(text: str, project: str) -> str | None:
    return _first(rf"^assistant: For your {project} I recommend (\w+)\.$", text)


def _liked(text: str, taste: str) -> str | None:
    return _first(rf"^user: When it comes to {taste}, I love (\w+)\.$", text)


def _bought(text: str, goods: str) -> str | None:
    numbers = re.findall(rf"^user: Today I bought (\d+) {goods}\.$", text, re.MULTILINE)
    return str(sum(map(int, numbers))) if numbers else None


def _days(text: str, first: str, last: str) -> str | None:
    dates = []
    for deed in (first, last):
        before, found, _ = text.partition(f"\nuser: Today I {deed}.\n")
        days = re.findall(r"^\[(\d{4}/\d\d/\d\d) \(\w+\) \d\d:\d\d\]$", before, re.MULTILINE)
        if not found or not days:
            return None
        dates.append(datetime.strptime(days[-1], "%Y/%m/%d"))
    return str((dates[1] - dates[0]).days)


def _value(text: str, key: str) -> str | None:
    return _first(rf'^ "{key}": (".*"),?$', text, json.loads)


def _fact(text: str, relation: str, entity: str) -> str | None:
    return _first(rf"The {relation} of {entity} is (\w+), ", text)


def _cited(text: str, relation: str, entity: str) -> str | None:
    found = re.search(rf"^\[document (\d+)\]\nThe {relation} of {entity} is (\w+), ", text, re.MULTILINE)
    return f"{found[2]} [{found[1]}]" if found else None


def _ranked(text: str, relation: str, entity: str) -> str | None:
    documents = re.findall(r"^\[ID: (\d+)\]\n(The .*)$", text, re.MULTILINE)
    gain = [
        (-2 * (f"The {relation} of {entity} is" in said) - (f" of {entity} is" in said), n) for n, said in documents
    ]
    return " > ".join(n for _, n in sorted(gain, key=lambda pair: pair[0])) or None


def _place(text: str, person: str) -> str | None:
    found = re.findall(rf"^{person} went to the (\w+)\.$", text, re.MULTILINE)
    return f"the {found[-1]}" if found else None


def _sentences(text: str, entity: str) -> str | None:
    return " ".join(re.findall(rf"^The .* of {entity} is \w+, .*$", text, re.MULTILINE)) or None


def _labelled(text: str, asked: str) -> str | None:
    word = next(word for word in LABEL_WORDS if word in asked.split())
    return _first(rf"^The {word} near .*\nlabel: (\d+)$", text)


def _listed(text: str) -> str | None:
    return text.strip() or None


def _compared(text: str, first: str, word: str, second: str) -> str | None:
    found = re.search(r"^(\w+) is (\w+) than (\w+)\.$", text, re.MULTILINE)
    if found is None or {found[1], found[3]} != {first, second}:
        return None
    return "yes" if found[2] == (word if found[1] == first else OPPOSITES[word]) else "no"


def _first(pattern: str, text: str, read: Callable[[str], str] = str) -> str | None:
    found = re.search(pattern, text, re.MULTILINE)
    return read(found[1]) if found else None


_RULES: Final[tuple[tuple[str, Callable[..., str | None]], ...]] = (
    (r"^What is my (.+)\?$", _attribute),
    (r"^What did you recommend for my (.+)\?$", _recommended),
    (r"^Which (.+) should you suggest to me\?$", _liked),
    (r"^How many (.+) did I buy in all\?$", _bought),
    (r"^How many days passed between the day I (.+) and the day I (.+)\?$", _days),
    (r"^Which value has the key (\S+) in the JSON object\?$", _value),
    (r"^What is the (.+) of (\w+), and which document says so\?$", _cited),
    (r"^What is the (.+) of (\w+)\?$", _fact),
    (r"^Where was (\w+) last\?$", _place),
    (r"^Repeat in order every sentence about (\w+)\.$", _sentences),
    (r"^Which words does the list have, in order\?$", _listed),
    (r"^Is (\w+) (\w+) than (\w+)\?$", _compared),
    (r"^Which label has this text: (.+)\.$", _labelled),
)
_RANKING: Final[tuple[tuple[str, Callable[..., str | None]], ...]] = ((r"^What is the (.+) of (\w+)\?$", _ranked),)
