"""How names and facts are written before they are compared, counted and embedded."""

import re

__all__ = ["cleaned", "fact_text", "normalised"]

_NOT_WORD = re.compile(r"[^\w ]|_")
_PARENTHESES = re.compile(r"\([^()]*\)")


def cleaned(phrase: str) -> str:
    """A phrase of a triple: lower case, every character that is no letter, digit or space turned into a space, the
    ends stripped. HippoRAG does the same, but knows no letters beyond a-z; "São" stays a word here."""
    return _NOT_WORD.sub(" ", phrase.lower()).strip()


def normalised(name: str) -> str:
    """A name that the rules found: as `cleaned`, with what stands in parentheses and double spaces gone."""
    outside = _PARENTHESES.sub(" ", name)
    return " ".join(cleaned(outside if outside.strip() else name).split())


def fact_text(subject: str, predicate: str, object_text: str) -> str:
    """What is embedded for a fact: the printed tuple, as HippoRAG 2 has it."""
    return str((subject, predicate, object_text))
