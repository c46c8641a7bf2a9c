"""A teacher that knows: it notes, verifies and finds evidence in histories by how they were made, without a network.

What it is given decides, not what it remembers: a fact whose line is gone from the context is in no note.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from mnemic.llm import FakeLLM, LLMError
from mnemic.llm.fake import Call
from mnemic.teaching.memento.fences import read_fenced
from mnemic.teaching.rwr.canon import EMPTY
from mnemic.teaching.rwr.evidence import EVIDENCE_TAG
from mnemic.teaching.rwr.histories import History
from mnemic.teaching.rwr.summaries import NOTE_TAG
from mnemic.teaching.rwr.verification import VERIFY_TAG, holds

__all__ = ["OracleTeacher"]


class _Known(NamedTuple):
    """One question: the lines it follows from, each under the heading of its day, and what they say."""

    lines: tuple[str, ...]
    headings: tuple[str, ...]
    parts: tuple[str, ...]


class OracleTeacher(FakeLLM):
    """Answers every prompt of a build about histories, by the truth."""

    def __init__(self, of: Iterable[History]) -> None:
        super().__init__([(lambda call: True, self.answer)], model="oracle")
        self._known: dict[str, list[_Known]] = {}
        for history in of:
            for question in history.questions:
                turns = sorted((*question.earlier, *question.evidence))
                values = {fact.turn: fact.value for fact in history.facts}
                dated = question.kind == "temporal"
                parts = (question.answer,) if dated else tuple(values[turn] for turn in question.evidence)
                lines = tuple(history.turns[turn].text for turn in turns)
                known = _Known(lines, tuple(history.heading_of(turn) for turn in turns), parts)
                self._known.setdefault(question.query, []).append(known)

    def answer(self, call: Call) -> Any:
        """What it says to one prompt: JSON, or an error."""
        answers = {NOTE_TAG: self._note, VERIFY_TAG: self._verdict, EVIDENCE_TAG: self._evidence}
        material = call.messages[1]["content"]
        query = read_fenced(material, "query")[-1]
        known = self._known.get(query)
        if known is None:
            return LLMError(f"the oracle knows no question '{query}'")
        return answers[call.tag](material, known)

    def _note(self, material: str, known: list[_Known]) -> dict[str, str]:
        """The lines that are there, with their dates, oldest first."""
        given = read_fenced(material, "context")[0].split("\n")
        seen: set[tuple[str, str]] = set()
        heading = ""
        for line in given:
            heading = line if line.startswith("[") else heading
            seen.add((heading, line))
        for one in known:
            pairs = zip(one.headings, one.lines, strict=True)
            if found := [f"{heading} {line}" for heading, line in pairs if (heading, line) in seen]:
                return {"summary": " ".join(found)}
        return {"summary": EMPTY}

    def _verdict(self, material: str, known: list[_Known]) -> dict[str, bool]:
        note, answer = read_fenced(material, "note")[0], read_fenced(material, "answer")[0]
        fitting = (one for one in known if all(holds(answer, part) for part in one.parts))
        return {"holds": any(one.parts and all(holds(note, part) for part in one.parts) for one in fitting)}

    def _evidence(self, material: str, known: list[_Known]) -> dict[str, list[int]]:
        lines = {line for one in known for line in one.lines}
        passages = read_fenced(material, "passage")
        return {"passages": [number for number, text in enumerate(passages) if text.strip() in lines]}
