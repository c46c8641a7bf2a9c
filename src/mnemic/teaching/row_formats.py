"""Rows of data sets become records, each format by its own function; a row that cannot be used says why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from mnemic.errors import UsageError, nearest
from mnemic.options import explain
from mnemic.teaching.records import Meta
from mnemic.teaching.sources import Row, open_shards, rows_of

__all__ = ["RowFormats", "Unusable", "row_meta", "row_name"]


class Unusable(Exception):
    """One row cannot be used; "reason: details"."""


class _Record(Protocol):
    @property
    def id(self) -> str: ...

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Any: ...

    def failed(self, error: str) -> Any:
        """The same as one that cannot be used; one that cannot already keeps its reason."""


R = TypeVar("R", bound=_Record)


@dataclass(frozen=True)
class RowFormats(Generic[R]):
    """What rows may look like, and the records that they become.

    Attributes:
        kind: of the records.
        makers: format → the record of a row of a source; where there is none: Unusable, KeyError or ValidationError.
        columns: format → what its rows have, tried in turn.
        unusable: (id, source, error) → the record of a row without one.
        own_codes: errors of the record's own that are reasons to count; others are "bad_row".
        schemas: what rows may say in the column "schema" → their format.
    """

    kind: type[BaseModel]
    makers: Mapping[str, Callable[[Row, str], R]]
    columns: Mapping[str, frozenset[str]]
    unusable: Callable[[str, str, str], R]
    own_codes: frozenset[str]
    schemas: Mapping[str, str] = field(default_factory=dict)

    def read(
        self, source: str, *, format: str | None = None, limit: int | None = None, seed: int = 0, split: str = "train"
    ) -> Iterator[R]:
        """The records of a source, each id once.

        Args:
            source: see `sources.open_shards`.
            format: one of `makers`; by default what the first row looks like.
            limit: this many, drawn from all shards in turn; by default all, in order.
            seed: of that draw.

        Raises:
            UsageError: the source cannot be read, or its rows are of no known format.
        """
        if format is not None and format not in self.makers:
            raise UsageError(f"unknown format '{format}'{nearest(format, self.makers)}")
        yield from self.of(rows_of(open_shards(source, split), limit, seed), source, format)

    def of(self, rows: Iterable[Row], source: str, format: str | None = None) -> Iterator[R]:
        """Records of rows; the second of two rows with one id cannot be used, and has another id."""
        seen: dict[str, int] = {}
        for row in rows:
            format = format or self.recognise(row, source)
            record = self.record(row, format, source)
            copies = seen[record.id] = seen.get(record.id, 0) + 1
            if copies > 1:
                twin = record.model_copy(update={"id": f"{record.id}#{copies}"})
                record = twin.failed(f"duplicate_id: {record.id} was there before")
            yield record

    def recognise(self, row: Row, source: str) -> str:
        """The format of a row, by its columns."""
        schema = row.get("schema")
        if isinstance(schema, str) and schema in self.schemas:
            return self.schemas[schema]
        for format, columns in self.columns.items():
            if columns <= row.keys():
                return format
        wanted = "; ".join(f"{format}: {', '.join(sorted(columns))}" for format, columns in self.columns.items())
        raise UsageError(f"the rows of '{source}' have the columns {', '.join(map(str, row))}; known are {wanted}")

    def record(self, row: Row, format: str, source: str) -> R:
        """The record of one row, with the reason where it cannot be used."""
        try:
            return self.makers[format](row, source)
        except Unusable as reason:
            error = str(reason)
        except KeyError as missing:
            error = f"bad_row: there is no column {missing}"
        except ValidationError as wrong:
            code = wrong.errors()[0]["type"]
            error = f"{code if code in self.own_codes else 'bad_row'}: {explain('row', self.kind, wrong)}"
        name = row_name(row, json.dumps(row, default=str, sort_keys=True))
        return self.unusable(_encodable(name), source, _encodable(error))


def row_name(row: Row, *texts: str) -> str:
    """The id of a row, or a digest of what it says."""
    name = row.get("id")
    return str(name) if isinstance(name, str | int) and str(name) else _digest("\0".join(texts))


def row_meta(row: Row, source: str) -> Meta:
    """What a row says of where it comes from."""
    known = {name: row.get(name) for name in ("source", "domain", "difficulty", "license")}
    kept = {name: value for name, value in known.items() if isinstance(value, str | int | float)}
    difficulty = kept.pop("difficulty", None)
    texts = {name: str(value) for name, value in kept.items()}
    return Meta(**{"source": source, **texts}, difficulty=difficulty)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
