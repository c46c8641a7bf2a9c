"""What segments, notes and answers are made of: text in the layout of Recall with Reasoning, or rows of token ids."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from mnemic.teaching.rwr.answering import end_ids, prompt_ids
from mnemic.teaching.rwr.canon import UNANSWERABLE
from mnemic.teaching.rwr.layout import Mode, QueryPosition, parse_reply, prompt_text
from mnemic.teaching.rwr.passages import passages

__all__ = ["Segment", "SegmentForm", "TextForm", "TokenForm"]

C = TypeVar("C")
Ids = Sequence[int]


@dataclass(frozen=True)
class Segment(Generic[C]):
    """Part of a context; start and end in characters, or in tokens."""

    content: C
    start: int
    end: int


class SegmentForm(Protocol[C]):
    """How contexts and queries of one kind become prompts, and what was written becomes notes and answers."""

    @property
    def note_ends(self) -> Ids:
        """Tokens that end a note."""

    @property
    def answer_ends(self) -> Ids:
        """Tokens that end an answer."""

    @property
    def unanswerable(self) -> C:
        """The answer where no segment holds anything."""

    def segments(self, context: C, room: int) -> Iterator[Segment[C]]:
        """The context in order, in parts of at most `room` tokens."""

    def note_prompt(self, segment: C, query: C) -> list[int]: ...

    def answer_prompt(self, notes: C, query: C) -> list[int]: ...

    def note(self, written: Ids) -> C | None:
        """None where it says that nothing was found."""

    def answer(self, written: Ids) -> C: ...

    def joined(self, notes: Sequence[C]) -> C:
        """Notes in the order of their segments, as one context."""


class TextForm:
    """Text, cut at paragraphs and turns.

    Args:
        answer_mode: what is asked for once the notes stand there: the answer at once, or a note on the notes first.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        query_position: QueryPosition = "after",
        answer_mode: Mode = "answer",
    ) -> None:
        self.tokenizer = tokenizer
        self.query_position: QueryPosition = query_position
        self.answer_mode: Mode = answer_mode
        self.note_ends = self.answer_ends = end_ids(model, tokenizer)
        self.unanswerable: str = UNANSWERABLE

    def segments(self, context: str, room: int) -> Iterator[Segment[str]]:
        for one in passages(context, room, lambda text: len(self.tokenizer.encode(text, add_special_tokens=False))):
            yield Segment(one.text, one.start, one.end)

    def note_prompt(self, segment: str, query: str) -> list[int]:
        return self._prompt(segment, query, "summary")

    def answer_prompt(self, notes: str, query: str) -> list[int]:
        return self._prompt(notes, query, self.answer_mode)

    def note(self, written: Ids) -> str | None:
        reply = parse_reply(self._text(written), mode="summary")
        return None if reply.is_empty else reply.summary

    def answer(self, written: Ids) -> str:
        return parse_reply(self._text(written), mode=self.answer_mode).answer or ""

    def joined(self, notes: Sequence[str]) -> str:
        return "\n\n".join(notes)

    def _prompt(self, context: str, query: str, mode: Mode) -> list[int]:
        return prompt_ids(self.tokenizer, prompt_text(context, query, mode=mode, query_position=self.query_position))

    def _text(self, written: Ids) -> str:
        return str(self.tokenizer.decode(list(written), skip_special_tokens=True))


@dataclass(frozen=True)
class TokenForm:
    """Rows of ids, as synthetic tasks have them.

    Attributes:
        make_note_prompt, make_answer_prompt: (segment or notes, query) -> prompt.
        read_note: what was written -> the note, None where it is empty.
        read_answer: what was written -> the answer.
        spans: (context, room) -> where to cut; None: every `room` tokens.
    """

    make_note_prompt: Callable[[Ids, Ids], list[int]]
    make_answer_prompt: Callable[[Ids, Ids], list[int]]
    read_note: Callable[[Ids], Ids | None]
    note_ends: Ids
    answer_ends: Ids
    unanswerable: Ids
    read_answer: Callable[[Ids], Ids] = list
    spans: Callable[[Ids, int], Sequence[tuple[int, int]]] | None = None

    def segments(self, context: Ids, room: int) -> Iterator[Segment[Ids]]:
        whole = [(start, min(start + room, len(context))) for start in range(0, len(context), room)]
        for start, end in whole if self.spans is None else self.spans(context, room):
            yield Segment(context[start:end], start, end)

    def note_prompt(self, segment: Ids, query: Ids) -> list[int]:
        return self.make_note_prompt(segment, query)

    def answer_prompt(self, notes: Ids, query: Ids) -> list[int]:
        return self.make_answer_prompt(notes, query)

    def note(self, written: Ids) -> Ids | None:
        return self.read_note(written) or None

    def answer(self, written: Ids) -> Ids:
        return self.read_answer(written)

    def joined(self, notes: Sequence[Ids]) -> Ids:
        return [token for note in notes for token in note]
