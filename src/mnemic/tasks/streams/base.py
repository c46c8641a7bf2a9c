"""Documents in lanes: what can be read by many, put down, and taken up again at the same document.

A lane is a fixed share of the documents, with an order of its own. Row i of a streamed text comes from lane i modulo
their number, so that processes which share out the rows also share out the reading.
"""

from collections.abc import Collection, Iterator
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from mnemic.errors import MissingExtra, UsageError
from mnemic.tasks.base import Split

__all__ = ["MOST_LANES", "Cursor", "DocumentSource", "StreamedDocument", "held_out", "joined", "lanes_for", "library"]

MOST_LANES = 16
_EVERY = 20  # without splits of its own, of so many documents one validates and one tests

Cursor = dict[str, Any]
"""Where a document is, in JSON: reading from it gives that document first."""


class StreamedDocument(NamedTuple):
    """
    Attributes:
        cursor: where it is.
        split: to which it belongs.
        text: UTF-8.
    """

    cursor: Cursor
    split: Split
    text: bytes


class DocumentSource(Protocol):
    """
    Attributes:
        lanes: of the training documents; it depends on what is read, on nothing else.
        identity: differs where a document does, as far as can be told without reading them all.
        origin: where the splits come from, in one line.
    """

    @property
    def lanes(self) -> int: ...

    @property
    def identity(self) -> str: ...

    @property
    def origin(self) -> str: ...

    def read(self, lane: int, seed: int, cursor: Cursor | None = None) -> Iterator[StreamedDocument]:
        """A lane's documents without end, each epoch in its order; those that are held out come by too."""

    def read_once(self, split: Split) -> Iterator[bytes]:
        """Every document of a split, in the order of the files."""


def lanes_for(parts: int) -> int:
    """The largest power of two that `parts` and MOST_LANES have room for."""
    return 1 << (min(parts, MOST_LANES).bit_length() - 1)


def held_out(number: int, has: Collection[Split]) -> Split:
    """The split of a training document by its number, where not every split has documents of its own."""
    if not {"valid", "test"} & set(has):
        return {_EVERY - 2: "valid", _EVERY - 1: "test"}.get(number % _EVERY, "train")  # type: ignore[return-value]
    return "valid" if "valid" not in has and number % _EVERY == _EVERY - 2 else "train"


def joined(row: dict[str, Any], columns: tuple[str, ...], where: str) -> bytes:
    """A row's text: its columns under each other, empty ones left out.

    Raises:
        UsageError: a column is not there, or holds no text.
    """
    texts = []
    for column in columns:
        if column not in row:
            strings = [name for name, value in row.items() if isinstance(value, str)]
            hint = f"say field={' or field='.join(strings)}" if strings else "no column of it holds text"
            raise UsageError(f"{where} has no column '{column}'; {hint}")
        value = row[column]
        if value is not None and not isinstance(value, str):
            raise UsageError(f"column '{column}' of {where} holds {type(value).__name__}, not text")
        if value:
            texts.append(value)
    return "\n".join(texts).encode("utf-8", errors="replace").strip(b"\n")


def library(what: str, module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        raise MissingExtra(what, "data") from missing
