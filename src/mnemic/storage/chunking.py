"""Long texts cut into passages that an encoder and a reader can take in, at the ends of paragraphs where that goes."""

import re

__all__ = ["LONGEST", "chunks"]

LONGEST = 2_000  # characters, some 350 words: a Wikipedia paragraph stays whole
_ENDS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"(?<=[.!?…。！？])\s+"), re.compile(r"\s+"))


def chunks(text: str, longest: int = LONGEST) -> list[tuple[int, int]]:
    """Where each piece begins and ends. Together they hold all of the text but the white space between them.

    A piece has at most `longest` characters and ends, in order of preference, with a paragraph, a line, a sentence or
    a word.
    """
    pieces: list[tuple[int, int]] = []
    begin = _after_space(text, 0)
    while begin < len(text):
        end = len(text) if len(text) - begin <= longest else _cut(text, begin, begin + longest)
        kept = end
        while kept > begin and text[kept - 1].isspace():
            kept -= 1
        pieces.append((begin, kept))
        begin = _after_space(text, end)
    return pieces


def _cut(text: str, begin: int, limit: int) -> int:
    """The last good place in the later half of the window; without one, its end."""
    half = begin + (limit - begin) // 2
    for pattern in _ENDS:
        places = [match.start() for match in pattern.finditer(text, half, limit)]
        if places:
            return places[-1]
    return limit


def _after_space(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place
