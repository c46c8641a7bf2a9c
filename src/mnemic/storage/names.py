"""Names in a text by how they are written: runs of words that begin with a capital or a digit. No model, any language
with capitals."""

import re
from collections.abc import Iterator

from mnemic.storage.phrases import normalised
from mnemic.storage.terms import STOP_WORDS

__all__ = ["is_name", "names", "query_names", "sentences"]

_TOKEN = re.compile(r"[^\W_]+(?:(?!['’]s\b)['’.&/-][^\W_]+)*")  # a possessive ends a name
_INSIDE = frozenset(
    ("of", "the", "de", "in", "for", "&", "del", "la", "le", "du", "di", "da", "von", "van", "der", "den", "al", "el")
)
_SENTENCE = re.compile(r"(?<=[.!?…。！？])[\"'”’)]*\s+|\n+")
_ABBREVIATION = re.compile(r"(?:^|[\s(.])(?:[A-Z]|Mr|Mrs|Ms|Dr|St|Jr|Sr|Prof|Gen|Col|Lt|Sgt|Rev|Hon|No|vs|c|ca|b|d)\.$")
_SHORTEST = 3  # characters of a normalised name
_LONGEST = 200


def sentences(text: str) -> list[str]:
    """A text cut after its sentences and lines; an initial or a title such as "Dr." ends none."""
    found: list[str] = []
    open_ = ""
    for part in _SENTENCE.split(text):
        open_ = f"{open_} {part}" if open_ else part
        if not _ends_short(open_):
            found.append(open_)
            open_ = ""
    return [sentence for sentence in [*found, open_] if sentence.strip()]


def names(sentence: str) -> list[str]:
    """All names of a sentence, in order, as they are written; one may come twice.

    Words such as "of" are kept inside a name where a capital follows ("and" is not: it joins two names more often);
    words that only begin a sentence are not names.
    """
    return [name for name in map(_trimmed, _runs(sentence)) if is_name(normalised(name))]


def is_name(norm: str) -> bool:
    """Whether a normalised name tells something: not a number, not a stop word, not very short or long."""
    return _SHORTEST <= len(norm) <= _LONGEST and not norm.isdigit() and norm not in STOP_WORDS


def query_names(question: str) -> list[str]:
    """The names of a question, each once."""
    return list(dict.fromkeys(names(question)))


def _ends_short(text: str) -> bool:
    return _ABBREVIATION.search(text[-8:]) is not None


def _runs(text: str) -> Iterator[str]:
    start = end = -1  # of the run that is open
    leads_on = False  # its last word is a small one, known to lead to a capital
    for token in _TOKEN.finditer(text):
        named = token[0][0].isupper() or token[0][0].isdigit() or token[0][0].istitle()
        if end >= 0 and not _joins(text, end, token.start()):
            yield text[start:end]
            start = end = -1
        if named:
            start, end = (start if end >= 0 else token.start()), token.end()
            leads_on = False
        elif end >= 0 and (leads_on or _leads_on(text, token)):
            end, leads_on = token.end(), True
        elif end >= 0:
            yield text[start:end]
            start = end = -1
    if end >= 0:
        yield text[start:end]


def _joins(text: str, end: int, start: int) -> bool:
    between = text[end:start]
    return between.isspace() or between in ("&", " & ") or (between == ". " and _ends_short(text[: end + 1]))


def _leads_on(text: str, token: re.Match[str]) -> bool:
    """A small word, or two, and then a capital; "the" only after another."""
    if token[0] == "the":
        return False
    while token[0] in _INSIDE:
        after = _TOKEN.match(text, token.end() + 1)
        if after is None or text[token.end()] != " ":
            return False
        if after[0][0].isupper():
            return True
        token = after
    return False


def _trimmed(run: str) -> str:
    """Without the words at its beginning that are capital only because a sentence begins."""
    while True:
        first, _, rest = run.partition(" ")
        if first.lower() not in STOP_WORDS or not rest:
            return run
        run = rest
