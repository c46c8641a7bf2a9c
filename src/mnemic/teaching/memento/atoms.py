"""Stretches of a trace that no boundary may cut: code, display mathematics, and what a full stop inside does not end.

Source: MEMENTO (arXiv 2604.09852), sentence splitting (stage 1). Everything here finds spans; nothing rewrites text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

__all__ = ["Shield", "Span", "is_math_line", "protected_atoms", "shielded"]


class Span(NamedTuple):
    """text[start:end], in characters."""

    start: int
    end: int

    def of(self, text: str) -> str:
        return text[self.start : self.end]


_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_DISPLAY = re.compile(
    r"\$\$.+?\$\$|\\\[.+?\\\]|\\begin\{(?P<name>[A-Za-z]+\*?)\}.+?\\end\{(?P=name)\}",
    re.DOTALL,
)
_CODE_LINE = re.compile(
    r"^\s*+(?:(?:def|class|for|while|if|elif|else|try|except|return|import|from|print|public|private|static|void|int|"
    r"const|let|var|function|#include|using|switch|case|break|continue)\b.*[:;{(})=]|[\w.\[\]]+\s*[-+*/]?=\s*\S.*|"
    r"[\w.]+\(.*\)\s*+;?\s*+(?:#.*|//.*)?$|.*[;{}]\s*$|[#@]\w|//|return\b|break\b|continue\b|pass\b)"
)
_MATH_ONLY = re.compile(r"^[\s\d\w.,+\-*/^=<>≤≥≠≈×·÷±∈→⇒()\[\]{}|\\_&%!'°√∑∫π]*$")
_LONG_WORD = re.compile(r"(?<![\\\w])[A-Za-z]{3,}")
_RELATION = re.compile(r"[=<>≤≥≠≈→⇒]|\\(?:leq?|geq?|neq?|approx|equiv|implies|to)\b")
_FUNCTIONS = frozenset(
    (
        "sin", "cos", "tan", "cot", "sec", "log", "exp", "sqrt", "mod", "gcd", "lcm", "max", "min", "det", "lim",
        "frac", "cdot", "times", "sum", "int",
    )
)  # fmt: skip
_INDENT = re.compile(r"^(?: {4}|\t)")
_LEAST_CODE_LINES = 4
_LEAST_MATH_LINES = 2

# Inline stretches, each within one paragraph.
_INLINE = re.compile(
    r"`[^`\n]+`"
    r"|(?<![\\\w$])\$(?=[^\s$])[^$\n]*?[^\s$\\]\$(?!\d)"
    r"|\\\([^\n]{1,400}?\\\)"
    r"|\*\*(?=\S)[^*\n]+?\*\*"
    r"|(?:https?://|www\.)[^\s<>\"']*[\w/]"
    r"|(?<![\w-])[\w-]++(?:\.[\w-]++)+"
)
_BRACKETS = {")": "(", "]": "[", "}": "{"}
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_LONGEST_BRACKET = 400
_DEEPEST_BRACKET = 50


class Shield:
    """Asks of a position whether a stretch covers it."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(spans):
            if self._ends and start < self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def covers(self, position: int) -> bool:
        """Whether `position` lies in a stretch, its first and last character included."""
        at = bisect_right(self._starts, position) - 1
        return at >= 0 and position < self._ends[at]

    def cuts(self, position: int) -> bool:
        """Whether a boundary before `position` would cut a stretch in two."""
        at = bisect_right(self._starts, position) - 1
        return at >= 0 and self._starts[at] < position < self._ends[at]


def protected_atoms(text: str) -> list[Span]:
    """Code in fences or indented, display mathematics and runs of mathematical lines; in order, apart."""
    lines = list(_lines(text))
    found = list(_fences(text, lines))
    taken = Shield(found)
    for match in _DISPLAY.finditer(text):
        if not taken.covers(match.start()) and not _PARAGRAPH.search(match[0]):
            found.append(Span(*match.span()))
    for run, least in ((_code_like, _LEAST_CODE_LINES), (is_math_line, _LEAST_MATH_LINES)):
        taken = Shield(found)
        found += [span for span in _runs(text, lines, run, least) if not _touches(taken, span, found)]
    return sorted(found)


def shielded(text: str) -> Shield:
    """Brackets that close within their paragraph, inline mathematics and code, bold text, addresses, dotted names."""
    spans = [Span(*match.span()) for match in _INLINE.finditer(text)]
    start = 0
    for gap in _PARAGRAPH.finditer(text):
        spans += _bracketed(text, start, gap.start())
        start = gap.end()
    return Shield([*spans, *_bracketed(text, start, len(text))])


def is_math_line(line: str) -> bool:
    """A line of mathematics without delimiters: a relation, and no words but names of functions."""
    if not _RELATION.search(line) or not _MATH_ONLY.match(line):
        return False
    return all(word.lower() in _FUNCTIONS for word in _LONG_WORD.findall(line))


def _code_like(line: str) -> bool:
    return bool(_INDENT.match(line) and _CODE_LINE.match(line))


def _lines(text: str) -> Iterator[Span]:
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield Span(start, end)
        start = end + 1


def _fences(text: str, lines: list[Span]) -> Iterator[Span]:
    """An opening fence that nothing closes protects nothing: the trace was cut, or meant something else."""
    opened: tuple[int, str] | None = None
    for line in lines:
        match = _FENCE.match(line.of(text))
        if match is None:
            continue
        if opened is None:
            opened = (line.start, match[1])
        elif match[1].startswith(opened[1]) and not line.of(text).strip().strip(opened[1][0]):
            yield Span(opened[0], line.end)
            opened = None


def _runs(text: str, lines: list[Span], belongs: Callable[[str], bool], least: int) -> Iterator[Span]:
    run: list[Span] = []
    for line in [*lines, Span(len(text), len(text))]:
        if line.start < len(text) and belongs(line.of(text)):
            run.append(line)
            continue
        if len(run) >= least:
            yield Span(run[0].start, run[-1].end)
        run = []


def _touches(taken: Shield, span: Span, found: list[Span]) -> bool:
    return (
        taken.covers(span.start) or taken.covers(span.end - 1) or any(span.start <= f.start < span.end for f in found)
    )


def _bracketed(text: str, start: int, end: int) -> list[Span]:
    """Pairs of one paragraph; a bracket without its partner shields nothing, nor does a pair that is very long."""
    spans: list[Span] = []
    open_: list[tuple[str, int]] = []
    for position in range(start, end):
        char = text[position]
        if char in "([{":
            open_.append((char, position))
            del open_[:-_DEEPEST_BRACKET]
        elif char in _BRACKETS:
            at = next((i for i in range(len(open_) - 1, -1, -1) if open_[i][0] == _BRACKETS[char]), None)
            if at is not None:
                first = open_[at][1]
                del open_[at:]
                if position - first <= _LONGEST_BRACKET:
                    spans.append(Span(first, position + 1))
    return spans
