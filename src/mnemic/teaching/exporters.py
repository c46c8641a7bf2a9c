"""Traces for elsewhere: one string with markers, and the columns of OpenMementos."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from mnemic.errors import MissingExtra, MnemicError, UsageError
from mnemic.teaching.memento.marker_text import MARKERS
from mnemic.teaching.records import TraceRecord

__all__ = ["marker_string", "open_mementos_row", "write_open_mementos"]

_AROUND = {
    "other": ("", ""),
    "block": (MARKERS.block_start, MARKERS.block_end),
    "memento": (MARKERS.summary_start, MARKERS.summary_end),
}


def marker_string(record: TraceRecord) -> str:
    """The assistant's turn as the model is to write it: <think>, blocks and mementos in markers, </think>, answer.

    Source: MEMENTO (arXiv 2604.09852), token format.
    """
    if record.status != "ok":
        raise UsageError(f"trace {record.id} failed ({record.error}); it cannot be exported")
    pieces = [f"{_AROUND[s.kind][0]}{s.text}{_AROUND[s.kind][1]}" for s in record.segments]
    return "".join(["<think>", *pieces, "</think>", record.answer])


def open_mementos_row(record: TraceRecord) -> dict[str, str | None]:
    """The row of `microsoft/OpenMementos` that holds a trace of one question."""
    turns = [turn for turn in record.prompt if turn.role != "system"]
    if len(turns) != 1:
        raise UsageError(f"trace {record.id} has {len(turns)} turns before the answer; OpenMementos has room for one")
    difficulty = record.meta.difficulty
    return {
        "problem": turns[0].content,
        "response": marker_string(record),
        "domain": record.meta.domain,
        "source": record.meta.source,
        "difficulty": None if difficulty is None else str(difficulty),
    }


def write_open_mementos(path: Path, records: Iterable[TraceRecord]) -> int:
    """Write .jsonl or .parquet with the columns of OpenMementos, whole or not at all; failed traces are left out."""
    rows = [open_mementos_row(record) for record in records if record.status == "ok"]
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            _write_parquet(aside, rows)
        elif path.suffix == ".jsonl":
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            aside.write_text(lines, encoding="utf-8", newline="\n")
        else:
            raise UsageError(f"cannot write '{path}'; OpenMementos is written as .jsonl or .parquet")
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise MnemicError(f"cannot write '{path}': {error.strerror or error}; what was there is untouched") from error
    finally:
        aside.unlink(missing_ok=True)
    return len(rows)


def _write_parquet(path: Path, rows: list[dict[str, str | None]]) -> None:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ModuleNotFoundError:
        raise MissingExtra("writing parquet", "teaching") from None
    columns = ("problem", "response", "domain", "source", "difficulty")
    schema = arrow.schema([(name, arrow.string()) for name in columns])
    parquet.write_table(arrow.Table.from_pylist(rows, schema=schema), path)
