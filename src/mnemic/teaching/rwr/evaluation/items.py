"""One shape for the questions of all benchmarks: a dated history, a question, its answers and where they stand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from mnemic.errors import UsageError
from mnemic.teaching.stage_log import json_text
from mnemic.teaching.tokens import ApproximateTokens, TokenCounter

__all__ = ["METRICS", "EvaluationItem", "Judging", "Metric", "Passage", "Turn", "numbered"]

Metric = Literal["substring", "exact", "f1", "rouge_l", "recall", "ndcg@10", "phrases"]
METRICS: tuple[Metric, ...] = get_args(Metric)

Judging = Literal["fact", "temporal", "update", "rubric", "abstention", "premise", "insight"]


@dataclass(frozen=True)
class Turn:
    """Something said, or a text that nobody says (role "").

    Attributes:
        is_evidence: the answer, or a part of it, stands here.
    """

    role: str
    text: str
    is_evidence: bool = False


@dataclass(frozen=True)
class Passage:
    """A session, a document or another piece of a history that is stored and found as one.

    Attributes:
        id: says nothing about being evidence, so that a memory may see it.
        date: as the benchmark writes it, None where it has none.
    """

    id: str
    turns: tuple[Turn, ...]
    date: str | None = None
    title: str | None = None

    @property
    def text(self) -> str:
        """The date, or the title, on a line of its own, then a line per turn."""
        head = [f"[{said}]" for said in (self.date, self.title) if said]
        return "\n".join([*head, *(f"{turn.role}: {turn.text}" if turn.role else turn.text for turn in self.turns)])


@dataclass(frozen=True)
class EvaluationItem:
    """A question about a history.

    Attributes:
        context: oldest first.
        question_date: "now", where the benchmark says when the question is asked.
        answers: any of them is right; where `metric` is "recall" or "phrases" all of them belong to the answer. For
            judging by "rubric" the first is the rubric. For "ndcg@10": "id label" for each document that has a label.
        question_type: as the benchmark calls it.
        category: what the benchmark averages over, its name where there is no such thing.
        evidence: ids of passages.
        metric: how an answer is scored without a judge.
        judging: by which rule a judge scores it.
        instruction: what an answer must look like, where the benchmark wants a form.
    """

    id: str
    context: tuple[Passage, ...]
    question: str
    answers: tuple[str, ...]
    question_type: str
    category: str
    is_abstention: bool = False
    evidence: tuple[str, ...] = ()
    question_date: str | None = None
    metric: Metric = "substring"
    judging: Judging = "fact"
    instruction: str = ""

    def __post_init__(self) -> None:
        if not self.answers:
            raise UsageError(f"item '{self.id}' has no answer")
        passages = {passage.id for passage in self.context}
        if len(passages) < len(self.context):
            raise UsageError(f"item '{self.id}': two passages have the same id")
        if unknown := sorted(set(self.evidence) - passages):
            raise UsageError(f"item '{self.id}': evidence '{unknown[0]}' is no passage of its context")

    @property
    def context_text(self) -> str:
        """What a model reads."""
        return "\n\n".join(passage.text for passage in self.context)

    @property
    def query_text(self) -> str:
        """What a model is asked: the question, when it is asked, and the form of the answer."""
        when = f"Today is {self.question_date}." if self.question_date else ""
        return " ".join(part for part in (when, self.question, self.instruction) if part)

    def length(self, counter: TokenCounter | None = None) -> int:
        """Tokens of the context."""
        return (counter or ApproximateTokens()).count(self.context_text)

    @property
    def digest(self) -> str:
        """Of all that a score depends on."""
        return hashlib.sha256(json_text(asdict(self)).encode()).hexdigest()[:32]


def numbered(items: Sequence[EvaluationItem]) -> dict[str, EvaluationItem]:
    """Items by id.

    Raises:
        UsageError: an id comes twice.
    """
    found: dict[str, EvaluationItem] = {}
    for item in items:
        if item.id in found:
            raise UsageError(f"the id '{item.id}' comes twice among the questions")
        found[item.id] = item
    return found
