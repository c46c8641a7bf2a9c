"""Passages and questions about them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mnemic.errors import UsageError
from mnemic.storage.corpus_view import corpus_view
from mnemic.storage.encoder import Encoder
from mnemic.storage.extracted import Extracted
from mnemic.storage.rule_extraction import extract_by_rules
from mnemic.storage.view import Passage, View

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
    """

    name: str
    passages: tuple[Passage, ...]
    questions: tuple[Question, ...]
    stored: tuple[Extracted, ...] | None = field(default=None, repr=False)

    @property
    def conversational(self) -> bool:
        return any(passage.session for passage in self.passages)

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
