"""Records of benchmark files, whichever way they are kept, and what is wrong with one: file, line and field."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mnemic.errors import UsageError
from mnemic.teaching.sources import HUB, open_shards, rows_of

__all__ = ["AnyEntry", "Entry", "Placed", "checked", "read_entries"]

_SHOWN = 60
_LINES = (".jsonl", ".jsonl.gz", ".parquet")

Placed = tuple[str, dict[str, Any]]


class Entry(BaseModel):
    """A record of a benchmark: the fields that are needed, and any others."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class AnyEntry(Entry):
    """A record whose kind is told by its fields."""

    model_config = ConfigDict(frozen=True, extra="allow")


E = TypeVar("E", bound=Entry)


def read_entries(source: str, kind: type[E], inside: str | None = None) -> Iterator[tuple[str, E]]:
    """Each record of a source and where it stands.

    Args:
        source: .json (a list of records), .jsonl, .parquet, either of the first two with .gz, or hf:owner/name.
        inside: the field of a .json object that holds the list, for files that are no list.

    Raises:
        UsageError: no such file, no JSON, or a record with missing or wrong fields; the message names the place.
    """
    for place, row in _rows(source, inside):
        yield place, checked(place, kind, row)


def checked(place: str, kind: type[E], row: Any) -> E:
    """A record as what it must be, or an error that says where it is not."""
    try:
        return kind.model_validate(row)
    except ValidationError as wrong:
        error = wrong.errors()[0]
        field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
        if error["type"] == "missing":
            raise UsageError(f"{place}: field '{field}' is missing") from None
        said = json.dumps(error["input"], ensure_ascii=False, default=str)
        shown = said if len(said) <= _SHOWN else said[:_SHOWN] + "…"
        reason = error["msg"].replace("Input should be", "it must be").replace("String should", "it should")
        if field:
            raise UsageError(f"{place}: field '{field}' is {shown}; {reason}") from None
        raise UsageError(f"{place}: {reason if isinstance(row, dict) else f'{shown} is no JSON object'}") from None


def _rows(source: str, inside: str | None) -> Iterator[Placed]:
    if source.startswith(HUB) or source.endswith(_LINES):
        for number, row in enumerate(rows_of(open_shards(source)), start=1):
            yield f"record {number} of '{source}'", row
        return
    path = Path(source).expanduser()
    text = _text(path)
    start = len(text) - len(text.lstrip())
    if start == len(text):
        raise UsageError(f"'{path}' is empty")
    if text[start : start + 1] == "[":
        yield from _listed(path, text, start)
        return
    try:
        whole = json.loads(text)
    except ValueError as error:
        raise UsageError(f"'{path}' is not JSON: {error}") from None
    if inside is None or not isinstance(whole, dict) or not isinstance(whole.get(inside), list):
        wanted = "a list of records" + (f", or an object with such a list under '{inside}'" if inside else "")
        raise UsageError(f"'{path}' is not {wanted}")
    for number, row in enumerate(whole[inside]):
        yield f"'{inside}[{number}]' of '{path}'", row


def _listed(path: Path, text: str, start: int) -> Iterator[Placed]:
    """Records of a list one at a time: the files are large, and so the line of each is known."""
    decoder = json.JSONDecoder()
    at, line, counted = start + 1, 1, 0
    for number in count(1):
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        line, counted = line + text.count("\n", counted, at), at
        if text[at : at + 1] == "]":
            if text[at + 1 :].strip():
                raise UsageError(f"line {line} of '{path}' ends the list of records, but more follows")
            return
        place = f"record {number}, line {line} of '{path}'"
        try:
            row, at = decoder.raw_decode(text, at)
        except ValueError as error:
            raise UsageError(f"{place} is not JSON: {error}") from None
        yield place, row


def _text(path: Path) -> str:
    try:
        if path.name.endswith(".gz"):
            with gzip.open(path, "rt", encoding="utf-8") as file:
                return file.read()
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"there is no file '{path}'") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"'{path}' is not UTF-8: {error.reason}") from None
    except (OSError, EOFError) as error:
        raise UsageError(f"cannot read '{path}': {error}") from None
