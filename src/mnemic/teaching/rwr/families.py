"""Which recall rows are about one context: those are held out together, or what is held out is known already."""

import hashlib
from typing import get_args

from mnemic.teaching.records import RecallRecord
from mnemic.teaching.rwr.mixture import Kind

__all__ = ["Families"]


class Families:
    """Takes records one by one, and then names the family of each.

    A context without its evidence is another text: its row follows the others of its example, where there are any.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[str, str]] = []
        self._whole: dict[str, str] = {}

    def add(self, record: RecallRecord) -> None:
        example, _, kind = record.id.rpartition("/")
        example = example if kind in get_args(Kind) else record.id
        own = _digest(record.context) if record.context.strip() else example
        self._rows.append((example, own))
        if record.kind != "empty":
            self._whole[example] = own

    def names(self) -> tuple[str, ...]:
        """[R], in the order in which they came."""
        return tuple(self._whole.get(example, own) for example, own in self._rows)


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:16]
