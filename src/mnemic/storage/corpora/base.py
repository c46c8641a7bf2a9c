"""Passages and questions about them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mnemic.errors import UsageError
from mnemic.storage.corpus_view import corpus_view
from mnemic.storage.encoder import Encoder
from mnemic.storage.extracted import Extracted
from mnemic.storage.rule_extraction import extract_by_rules
from mnemic.storage.view import Level, Passage, View

__all__ = ["Corpus", "Question"]


@dataclass(frozen=True)
class Question:
    """Attributes:
    evidence: ids of the passages that hold the answer.
    sessions: the conversations that hold it.
    answerable: the corpus has the answer; else `evidence` is what the question is wrongly about.
    time: when it is asked, UTC in microseconds, None where unknown.
    kind: the data set's own name for what it asks.
    """

    id: str
    text: str
    answer: str
    evidence: frozenset[str]
    sessions: frozenset[str] = frozenset()
    answerable: bool = True
    time: int | None = None
    kind: str = ""


@dataclass(frozen=True)
class Corpus:
    """Attributes:
    stored: what some extractor found in each passage, where a file of it is there.
    notes: what of the data is not asked or not read, and why, for people.
    """

    name: str
    passages: tuple[Passage, ...]
    questions: tuple[Question, ...]
    stored: tuple[Extracted, ...] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def conversational(self) -> bool:
        return any(passage.session for passage in self.passages)

    @property
    def asked(self) -> tuple[Question, ...]:
        """Questions whose evidence is known; the others have no recall."""
        return tuple(question for question in self.questions if question.evidence or question.sessions)

    def without(self, level: Level) -> "Corpus":
        """The corpus without passages of a level, such as "summary". Not for corpora with stored extractions."""
        assert self.stored is None
        return replace(self, passages=tuple(passage for passage in self.passages if passage.level != level))

    def view(self, encoder: Encoder, *, extraction: str = "rules", synonym_threshold: float | None = None) -> View:
        """
        Args:
            extraction: "rules", "stored" or "none".

        Raises:
            UsageError: nothing is stored, or an unknown extraction.
        """
        if extraction not in ("rules", "stored", "none"):
            raise UsageError(f"extraction is '{extraction}'; must be rules, stored or none")
        if extraction == "stored" and self.stored is None:
            raise UsageError(f"corpus '{self.name}' has no stored extractions; triples.jsonl would hold them")
        extracted: Sequence[Extracted] | None = self.stored if extraction == "stored" else None
        if extraction == "rules":
            extracted = [extract_by_rules(passage.title, passage.text) for passage in self.passages]
        return corpus_view(self.passages, encoder=encoder, extracted=extracted, synonym_threshold=synonym_threshold)
