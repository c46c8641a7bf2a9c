"""How names and facts are written before they are compared, counted and embedded."""

import re

__all__ = ["cleaned", "fact_text", "normalised"]

_NOT_WORD = re.compile(r"[^\w ]|_")
_NOT_ASCII_WORD = re.compile(r"[^A-Za-z0-9 ]")
_PARENTHESES = re.compile(r"\([^()]*\)")


def cleaned(phrase: str, *, ascii_only: bool = False) -> str:
    """A phrase of a triple: lower case, every character that is no letter, digit or space turned into a space, the
    ends stripped (HippoRAG, section 3.1 of its page).

    Args:
        ascii_only: as published, where "São" becomes "s o".
    """
    return (_NOT_ASCII_WORD if ascii_only else _NOT_WORD).sub(" ", phrase.lower()).strip()


def normalised(name: str) -> str:
    """A name that the rules found: as `cleaned`, with what stands in parentheses and double spaces gone."""
    outside = _PARENTHESES.sub(" ", name)
    return " ".join(cleaned(outside if outside.strip() else name).split())


def fact_text(subject: str, predicate: str, object_text: str) -> str:
    """What is embedded for a fact: the printed tuple, as HippoRAG 2 has it."""
    return str((subject, predicate, object_text))
