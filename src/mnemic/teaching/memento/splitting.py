"""Where sentences end: positions in the text, found without a model.

Source: MEMENTO (arXiv 2604.09852), sentence splitting (stage 1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from mnemic.teaching.memento.atoms import Span, protected_atoms, shielded

__all__ = ["split"]

# A full stop, question or exclamation mark, what closes around it, and the white space after it.
_END = re.compile(r"(?<![.?!])(?P<mark>[.?!]++)(?P<close>[\"'”’)\]}*_`]*+)(?P<space>\s++)")
_BLANK = re.compile(r"(?<![ \t])[ \t]*+\n(?:[ \t]*\r?\n)+")
_ITEM = re.compile(r"\n(?=[ \t]*+(?:[-*•+]|\d{1,3}[.)])[ \t]+\S)")
_LAST_WORD = re.compile(r"[^\s(\[{\"'“‘*]+$")
_LIST_MARKER = re.compile(r"(?:^|\n)[ \t]*(?:[-*•+]\s+)?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})$")
_INITIAL = re.compile(r"(?P<another>\b[A-Z]\.\s?)?\b[A-Z]$")  # one alone, as in "case A.", may well end a sentence
_INITIAL_NEXT = re.compile(r"[A-Z]\.")
_OPERATOR = re.compile(r"[=+\-*/^<>≤≥≠,;)\]}|&]")
_ABBREVIATIONS = frozenset(
    (
        "e.g", "i.e", "cf", "vs", "viz", "approx", "resp", "w.r.t", "w.l.o.g", "s.t", "a.k.a", "fig", "figs", "eq",
        "eqs", "eqn", "thm", "lem", "prop", "cor", "def", "sec", "ch", "vol", "ref", "refs", "dr", "mr", "mrs", "ms",
        "prof", "st", "jr", "sr", "al", "ca", "incl", "excl", "ed", "eds", "dept", "est", "no", "nos", "p", "pp",
    )
)  # fmt: skip
_BEFORE_NUMBERS = frozenset(("no", "nos", "p", "pp", "vol", "ch"))
_MAY_END = frozenset(("etc", "a.m", "p.m", "u.s", "inc", "ltd", "co"))


def split(text: str) -> list[Span]:
    """Sentences and atoms, in order; together they are the whole text. White space belongs to what it follows."""
    atoms = protected_atoms(text)
    cuts: set[int] = set()
    shield = shielded(text)
    for pattern in (_BLANK, _ITEM):
        cuts.update(match.end() for match in pattern.finditer(text))
    for match in _END.finditer(text):
        if not shield.cuts(match.end("close")) and _ends_sentence(text, match):
            cuts.add(match.end())
    inside = [cut for cut in cuts if not _within(atoms, cut)]
    edges = [edge for atom in atoms for edge in (_back_to_text(text, atom.start), _on_to_text(text, atom.end))]
    marks = sorted({0, len(text), *inside, *edges})
    return list(_joined_blanks(text, [Span(a, b) for a, b in pairwise(marks)]))


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    mark, after = match["mark"], text[match.end() : match.end() + 1]
    before = text[max(0, match.start() - 40) : match.start()]
    if _BLANK.search(match["space"]):
        return True
    if set(match["close"]) & set(")]}") and not after.isupper():
        return False  # f(n!) is no exclamation
    if len(mark) > 1 and set(mark) == {"."}:
        return False  # an ellipsis is a pause
    if "!" in mark:
        # a factorial, or "!=" with a space before what follows
        return not (_OPERATOR.match(after) and "\n" not in match["space"]) and not (
            before[-1:].isdigit() and after.islower()
        )
    if mark != ".":
        return True
    if _LIST_MARKER.search(before):
        return False
    word = _LAST_WORD.search(before)
    name = word[0].lower() if word else ""
    if name in _ABBREVIATIONS:
        return not after.isdigit() if name in _BEFORE_NUMBERS else name == "al" and after.isupper()
    if name in _MAY_END:
        return after.isupper()
    is_initial = _INITIAL.search(before)
    return not (is_initial and (is_initial["another"] or _INITIAL_NEXT.match(text, match.end())))


def _within(atoms: list[Span], cut: int) -> bool:
    return any(atom.start < cut < atom.end for atom in atoms)


def _back_to_text(text: str, start: int) -> int:
    """Indentation before an atom goes with it."""
    while start > 0 and text[start - 1] in " \t":
        start -= 1
    return start


def _on_to_text(text: str, end: int) -> int:
    """White space and closing punctuation after an atom go with it."""
    while end < len(text) and text[end] in ".,;:!?)":
        end += 1
    while end < len(text) and text[end].isspace():
        end += 1
    return end


def _joined_blanks(text: str, spans: list[Span]) -> Iterator[Span]:
    """A span of nothing but white space goes with the one before it, the first with the one after it."""
    held: Span | None = None
    for span in spans:
        if held is None:
            held = span
        elif not span.of(text).strip() or not held.of(text).strip():
            held = Span(held.start, span.end)
        else:
            yield held
            held = span
    if held is not None:
        yield held
