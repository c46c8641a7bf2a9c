"""What an answer to a text task's question is worth, as RULER scores it (Hsieh et al. 2024, arXiv 2404.06654)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mnemic.errors import UsageError
from mnemic.tasks.prompts import Question
from mnemic.teaching.rwr.evaluation.text_metrics import exact, recall, same_text

__all__ = ["LLAMA2_AT_4K", "Score", "effective_length", "score"]

LLAMA2_AT_4K: Final = 85.6
"""RULER's bar: the mean of Llama-2-7B at 4,096 tokens, in percent."""

_WORD = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
_KINDS = {
    "uuid": re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE),
    "number": re.compile(r"\d[\d-]*"),
    "name": re.compile(r"[A-Z]+"),
}


@dataclass(frozen=True)
class Score:
    """All from 0 to 1.

    Attributes:
        score: by the question's own rule: the share of the answers that stand in what was said ("all"), whether one
            does ("any"), or whether the first line is the answer ("exact").
        exact: whether one of the answers was said and nothing else, articles and punctuation aside; of several
            answers, whether all were and no other.
        precision: of what was said and could be an answer, the share that is; None where nothing was. Whoever recites
            the whole context has a score of 1, and little precision.
        f1: of precision and the share of the answers said.
    """

    score: float
    exact: float
    precision: float | None
    f1: float


def score(question: Question, said: str) -> Score:
    """Score one answer; whether letters are small or large makes no difference, but where `scoring` is exact."""
    first_line = said.strip().partition("\n")[0]
    share = recall(said, question.answers)
    value = {
        "all": share,
        "any": float(share > 0),
        "exact": same_text(first_line, question.answers),
    }[question.scoring]
    produced = _produced(question, said)
    right = {answer.lower() for answer in question.answers}
    precision = sum(word in right for word in produced) / len(produced) if produced else None
    found = sum(word in produced for word in right) / len(right)
    if question.scoring == "all":
        is_exact = float(precision == 1 and found == 1)
    else:
        is_exact = max(exact(first_line, question.answers), value if question.scoring == "exact" else 0.0)
    f1 = 2 * precision * found / (precision + found) if precision and found else 0.0
    return Score(value, is_exact, precision, f1)


def effective_length(scores: Mapping[int, float], threshold: float = LLAMA2_AT_4K) -> int:
    """The largest length whose score reaches the threshold, 0 where none does.

    Raises:
        UsageError: there are no scores.
    """
    if not scores:
        raise UsageError("scores is empty; an effective length needs the score of at least one length")
    return max((length for length, value in scores.items() if value >= threshold), default=0)


def _produced(question: Question, said: str) -> set[str]:
    """The words of an answer that are of a kind with the right ones: numbers, identifiers, names in capitals, or words
    of the context; what the question itself names is none."""
    kinds = {_kind(answer) for answer in question.answers}
    asked = set(_words(question.query + question.prefix))
    told = set(_words(question.context)) if "word" in kinds else set()
    words = {word for word in _WORD.findall(said) if _kind(word) in kinds}
    small = {word.lower() for word in words if _kind(word) != "word" or word.lower() in told}
    return small - asked


def _words(text: str) -> Sequence[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _kind(word: str) -> str:
    return next((name for name, pattern in _KINDS.items() if pattern.fullmatch(word)), "word")
