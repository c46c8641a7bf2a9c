"""A teacher that knows: it answers about synthetic traces from how they were made, so that a build needs no network.

Every third of its first drafts lacks a fact, so that judging and refining have something to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mnemic.llm import FakeLLM, LLMError
from mnemic.llm.fake import Call
from mnemic.teaching.memento.boundaries import BOUNDARY_TAG
from mnemic.teaching.memento.fences import read_fenced, read_gaps
from mnemic.teaching.memento.synthetic import SyntheticBlock, SyntheticTrace
from mnemic.teaching.memento.writing import JUDGEMENT_TAG, MEMENTO_TAG, REFINEMENT_TAG

__all__ = ["OracleTeacher"]

_LACKING_EVERY = 3
_PER_MISSING_FACT = 4.0


class OracleTeacher(FakeLLM):
    """Answers every prompt of a MEMENTO build about `traces`, by the truth."""

    def __init__(self, traces: Iterable[SyntheticTrace]) -> None:
        super().__init__([(lambda call: True, self.answer)], model="oracle")
        self._blocks = {block.closing: block for trace in traces for block in trace.blocks}
        self._number = {closing: number for number, closing in enumerate(self._blocks)}

    def answer(self, call: Call) -> Any:
        """What it says to one prompt: JSON, or an error."""
        answers = {
            BOUNDARY_TAG: self._scores,
            MEMENTO_TAG: self._summaries,
            JUDGEMENT_TAG: self._judgement,
            REFINEMENT_TAG: self._refinement,
        }
        return answers[call.tag](call)

    def _scores(self, call: Call) -> dict[str, Any]:
        sentences = read_gaps(read_fenced(_asked(call), "trace")[0])
        return {"scores": [3 if self._ends_block(sentence) else 0 for sentence in sentences[:-1]]}

    def _ends_block(self, sentence: str) -> bool:
        return any(sentence.rstrip().endswith(closing) for closing in self._found(sentence))

    def _summaries(self, call: Call) -> Any:
        known = [self._known(text) for text in read_fenced(_asked(call), "block")]
        if not all(known):
            return LLMError(f"the oracle knows no block like number {[bool(k) for k in known].index(False)}")
        return {"summaries": [self._draft(blocks) for blocks in known]}

    def _draft(self, blocks: list[SyntheticBlock]) -> str:
        lacks = self._number[blocks[0].closing] % _LACKING_EVERY == 0
        first = "; ".join(blocks[0].facts[:-1]) if lacks else blocks[0].memento
        return "; ".join([first, *(block.memento for block in blocks[1:])])

    def _judgement(self, call: Call) -> dict[str, Any]:
        blocks, memento = self._known(read_fenced(_asked(call), "block")[0]), read_fenced(_asked(call), "memento")[0]
        missing = [fact for block in blocks for fact in block.facts if fact not in memento]
        return {
            "score": max(0.0, 10.0 - _PER_MISSING_FACT * len(missing)),
            "feedback": [f"Add: {fact}" for fact in missing],
        }

    def _refinement(self, call: Call) -> dict[str, Any]:
        blocks = self._known(read_fenced(_asked(call), "block")[0])
        return {"summary": "; ".join(block.memento for block in blocks)}

    def _known(self, text: str) -> list[SyntheticBlock]:
        return [self._blocks[closing] for closing in self._found(text)]

    def _found(self, text: str) -> list[str]:
        """Closings in a text, in order. They begin alike, so that not all of them need to be looked for."""
        found = []
        at = text.find(_BEGIN)
        while at >= 0:
            end = text.find(_END, at)
            closing = text[at : end + len(_END)]
            if closing in self._blocks:
                found.append(closing)
            at = text.find(_BEGIN, at + 1)
        return found


_BEGIN, _END = "This settles stall ", " so far."


def _asked(call: Call) -> str:
    """The user's part, in which the material stands."""
    return call.messages[1]["content"]
