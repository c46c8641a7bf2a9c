"""Rows of data sets: JSON lines and parquet, one file or a folder of shards, or a data set of the Hugging Face hub."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mnemic.errors import MissingExtra, MnemicError, UsageError
from mnemic.teaching.records import numbered_lines

__all__ = ["HUB", "Row", "Shard", "open_shards", "rows_of"]

HUB = "hf:"
_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
_SHUFFLE_BUFFER = 1000

Row = dict[str, Any]


@dataclass(frozen=True)
class Shard:
    """One file of a data set. `rows` reads it in order, `sampled` in an order drawn from a generator."""

    name: str
    rows: Callable[[], Iterator[Row]]
    sampled: Callable[[random.Random], Iterator[Row]]


def open_shards(source: str, split: str = "train") -> list[Shard]:
    """The shards of a source.

    Args:
        source: a .jsonl, .jsonl.gz or .parquet file, a folder of them, or "hf:owner/name[:configuration]".
        split: of a data set of the hub.

    Raises:
        UsageError: nothing there, or of a kind that cannot be read.
    """
    if source.startswith(HUB):
        return _hub_shards(source.removeprefix(HUB), split)
    path = Path(source).expanduser()
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.name.endswith(_SUFFIXES) and file.is_file())
        if not files:
            raise UsageError(f"folder '{source}' has no file that ends in {', '.join(_SUFFIXES)}")
    elif path.exists():
        files = [path]
    else:
        raise UsageError(f"no file or folder '{source}'; a data set of the Hugging Face hub is written hf:owner/name")
    return [_file_shard(file) for file in files]


def rows_of(shards: Sequence[Shard], limit: int | None = None, seed: int = 0) -> Iterator[Row]:
    """All rows in order, or `limit` of them drawn from every shard in turn.

    Published shards are sorted by domain: the first rows are of one kind.
    """
    if limit is None:
        for shard in shards:
            yield from shard.rows()
        return
    rng = random.Random(seed)
    order = list(shards)
    rng.shuffle(order)
    yield from islice(_in_turn([shard.sampled(random.Random(rng.random())) for shard in order]), limit)


def _in_turn(streams: list[Iterator[Row]]) -> Iterator[Row]:
    while streams:
        left = []
        for stream in streams:
            for row in islice(stream, 1):
                yield row
                left.append(stream)
        streams = left


def _file_shard(file: Path) -> Shard:
    if file.name.endswith(".parquet"):
        return Shard(str(file), lambda: _parquet(file, None), lambda rng: _parquet(file, rng))
    if file.name.endswith(_SUFFIXES):
        return Shard(str(file), lambda: _json_lines(file), lambda rng: _shuffled(list(_json_lines(file)), rng))
    raise UsageError(f"cannot read '{file}'; traces are read from {', '.join(_SUFFIXES)}")


def _json_lines(file: Path) -> Iterator[Row]:
    lines = _unzipped_lines(file) if file.name.endswith(".gz") else numbered_lines(file)
    for number, line in lines:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError(f"line {number} of '{file}' is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise UsageError(f"line {number} of '{file}' is no JSON object")
        yield row


def _unzipped_lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        with gzip.open(file, "rt", encoding="utf-8", newline="\n") as text:
            for number, line in enumerate(text, start=1):
                if line.strip():
                    yield number, line
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read '{file}': {error}") from None


def _shuffled(rows: list[Row], rng: random.Random) -> Iterator[Row]:
    rng.shuffle(rows)
    return iter(rows)


def _parquet(file: Path, rng: random.Random | None) -> Iterator[Row]:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ModuleNotFoundError:
        raise MissingExtra(f"reading '{file}'", "teaching") from None
    try:
        opened = parquet.ParquetFile(file)
        groups = list(range(opened.num_row_groups))
        if rng is not None:
            rng.shuffle(groups)
        for group in groups:
            rows = opened.read_row_group(group).to_pylist()
            yield from rows if rng is None else _shuffled(rows, rng)
    except arrow.ArrowInvalid as error:
        raise UsageError(f"'{file}' is not parquet: {error}") from None
    except OSError as error:
        raise UsageError(f"cannot read '{file}': {error}") from None


def _hub_shards(name: str, split: str) -> list[Shard]:
    try:
        import datasets
    except ModuleNotFoundError:
        raise MissingExtra(f"streaming '{name}' from the Hugging Face hub", "teaching") from None
    path, _, configuration = name.partition(":")
    try:
        whole = datasets.load_dataset(path, configuration or None, split=split, streaming=True)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        # its own errors for "no such data set" and "no such configuration or split" are among these
        raise UsageError(f"cannot open '{HUB}{name}' (split {split}): {str(error).splitlines()[0]}") from error
    parts = [whole.shard(num_shards=whole.num_shards, index=index) for index in range(whole.num_shards)]
    return [_hub_shard(f"{HUB}{name}/{index}", part) for index, part in enumerate(parts)]


def _mixed(rows: Iterator[Row], rng: random.Random) -> Iterator[Row]:
    """Shuffled as far as a buffer reaches: what is downloaded comes in order."""
    buffer = list(islice(rows, _SHUFFLE_BUFFER))
    for row in rows:
        at = rng.randrange(len(buffer))
        yield buffer[at]
        buffer[at] = row
    rng.shuffle(buffer)
    yield from buffer


def _hub_shard(name: str, part: Any) -> Shard:
    def stream(rng: random.Random | None) -> Iterator[Row]:
        rows = (dict(row) for row in part)
        try:
            yield from rows if rng is None else _mixed(rows, rng)
        except OSError as error:
            raise MnemicError(f"reading '{name}' stopped: {error}") from error

    return Shard(name, lambda: stream(None), stream)
