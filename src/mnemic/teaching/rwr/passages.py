"""A long text in passages that a model can read one by one: cut at paragraphs and turns, dates carried along."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mnemic.errors import UsageError

__all__ = ["Passage", "passages"]

_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DATE = re.compile(
    rf"\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\b\d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{2,4}}"
    rf"|\b(?:{_MONTHS})[a-z]*\.? \d{{1,2}},? \d{{4}}|\b\d{{1,2}}\.? (?:{_MONTHS})[a-z]*\.? \d{{4}}",
    re.IGNORECASE,
)
_TURN = re.compile(r"\s*\**[A-Za-z][\w .'()-]{0,30}\**:(?:\s|\*|$)")
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*\s+|\n+")
_SPACE = re.compile(r"\s+")
_HEADER_LENGTH, _HEADER_WORDS = 100, 8


@dataclass(frozen=True)
class Passage:
    """`text` is what is read: the context from `start` to `end`, in characters, below the header that it belongs to."""

    text: str
    start: int
    end: int


def passages(context: str, room: int, count: Callable[[str], int]) -> Iterator[Passage]:
    """Passages in order, together the whole of the context, each of at most `room` tokens as `count` counts them.

    A line that is little more than a date heads what follows it, up to the next such line, and is repeated where a
    passage begins below it. Paragraphs and turns are cut only where one alone is too long; then at sentences or words.

    Raises:
        UsageError: room for nothing.
    """
    if room < 1:
        raise UsageError(f"room is {room}; a passage needs at least one token")
    header, above, start, end, used = "", "", 0, 0, 0
    last: tuple[int, int] | None = None  # where the header begins that nothing follows yet, and its tokens
    for left, right in _units(context):
        unit = context[left:right]
        own = _is_header(unit)
        if own:
            header = ""
        for begin, stop in _cut(context, left, right, room - _cost(header, room, count), count):
            size = count(context[begin:stop])
            if used and used + size > room:
                begun = last if last is not None and last[0] > start and last[1] + size <= room else None
                yield _passage(context, above, start, begun[0] if begun else end)
                above, start, used = ("", *begun) if begun else ("", end, 0)
            if not used:
                above, start = (header if _cost(header, room, count) else ""), begin
                used = _cost(header, room, count)
            used, end, last = used + size, stop, None
        if own:
            last = left, count(unit)
            header = unit.strip()
    if used and context[start:end].strip():
        yield _passage(context, above, start, end)


def _passage(context: str, above: str, start: int, end: int) -> Passage:
    text = context[start:end].strip("\n")
    return Passage(f"{above}\n{text}" if above else text, start, end)


def _cost(header: str, room: int, count: Callable[[str], int]) -> int:
    """Tokens of a header that is repeated; 0 where it would take more than half of the room, and is not."""
    tokens = count(header + "\n") if header else 0
    return tokens if 2 * tokens <= room else 0


def _units(context: str) -> Iterator[tuple[int, int]]:
    """Paragraphs, turns and headers, with the white space after them."""
    start = position = 0
    blank = True
    for line in context.splitlines(keepends=True):
        if position > start and (
            (blank and line.strip()) or _TURN.match(line) or _is_header(line) or _is_header(context[start:position])
        ):
            yield start, position
            start = position
        blank = not line.strip()
        position += len(line)
    if position > start:
        yield start, position


def _is_header(text: str) -> bool:
    line = text.strip()
    if len(line) > _HEADER_LENGTH or "\n" in line:
        return False
    rest, dates = _DATE.subn(" ", line)
    return dates > 0 and len(rest.split()) <= _HEADER_WORDS and line[-1:] not in ".!?"


def _cut(context: str, start: int, end: int, room: int, count: Callable[[str], int]) -> Iterator[tuple[int, int]]:
    """A unit in parts that fit: halves, and halves of them, cut at the sentence, word or letter nearest the middle."""
    if end - start <= 1 or count(context[start:end]) <= room:
        yield start, end
        return
    middle = (start + end) // 2
    for border in (_SENTENCE_END, _SPACE):
        places = [match.end() for match in border.finditer(context, start, end) if match.end() < end]
        if places:
            middle = min(places, key=lambda place: abs(place - middle))
            break
    yield from _cut(context, start, middle, room, count)
    yield from _cut(context, middle, end, room, count)
