"""What mnemic says when it cannot go on: one line that names the value and what would be right."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["MissingExtra", "MnemicError", "UsageError", "nearest"]


class MnemicError(Exception):
    """The work failed. The command line prints the message without a traceback and exits with 1."""


class UsageError(MnemicError, ValueError):
    """The call was wrong: unknown name, bad option, input that cannot be used. The command line exits with 2."""


class MissingExtra(UsageError):
    """A part of mnemic was asked for that is not installed.

    Args:
        what: what was asked for, such as "mnemic compare".
        extra: the extra that brings it, such as "models".
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra '{extra}'; install it with: pip install 'mnemic[{extra}]'")


def nearest(name: str, candidates: Iterable[str]) -> str:
    """'; did you mean ...?' with the closest candidates, or all of them when none is close."""
    known = sorted(set(candidates))
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return "; did you mean " + " or ".join(f"'{c}'" for c in close) + "?"
    return "; known: " + ", ".join(known) if known else ""
