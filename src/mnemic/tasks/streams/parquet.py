"""Parquet files, one row group in memory at a time."""

import hashlib
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from mnemic.errors import UsageError
from mnemic.tasks.base import Split
from mnemic.tasks.corpus import split_named
from mnemic.tasks.sampling import block_generator
from mnemic.tasks.streams.base import Cursor, StreamedDocument, held_out, joined, lanes_for, library

__all__ = ["ParquetSource", "parquet_files"]


def parquet_files(path: Path) -> list[Path]:
    """`path` itself, or those of a folder by their names; [] when there are none."""
    if path.is_dir():
        found = sorted(p for p in path.rglob("*.parquet") if p.is_file())
        return [p for p in found if not any(part.startswith(".") for part in p.relative_to(path).parts)]
    return [path] if path.suffix == ".parquet" and path.is_file() else []


class _Group(NamedTuple):
    """A row group: of which file, its number in it, its rows, and how many rows of the split come before it."""

    file: Path
    at: int
    rows: int
    before: int


class ParquetSource:
    """Args:
    root: as the user named it.
    files: at least one. Files, or folders, named train…, valid… or test… are the splits; without such names every
        20th document validates and every 20th tests.
    columns: of the text.

    Raises:
        UsageError: a file is not parquet, or lacks a column.
    """

    def __init__(self, root: Path, files: list[Path], columns: tuple[str, ...]) -> None:
        self.root, self.files, self.columns = root, files, columns
        self.groups: dict[Split, list[_Group]] = {"train": [], "valid": [], "test": []}
        library(f"text:{root}", "pyarrow")
        named = {file: split_named(file.relative_to(root).as_posix() if file != root else file.name) for file in files}
        is_named = "train" in named.values() and {"valid", "test"} & {*named.values()}
        digest = hashlib.sha256()
        for file in files:
            split: Split | None = named[file] if is_named else "train"
            if split is None:
                continue
            about = self._about(file)
            digest.update(f"{file.relative_to(root)} {split} {file.stat().st_size}\0".encode())
            for index in range(about.num_row_groups):
                group = about.row_group(index)
                before = sum(g.rows + g.before for g in self.groups[split][-1:])
                self.groups[split].append(_Group(file, index, group.num_rows, before))
                digest.update(str(group.to_dict()).encode())
        self.identity = digest.hexdigest()
        if not any(group.rows for group in self.groups["train"]):
            raise UsageError(f"'{root}' is empty: no training rows in {len(files)} parquet files")

    @property
    def lanes(self) -> int:
        return lanes_for(len(self.groups["train"]))

    @cached_property
    def origin(self) -> str:
        used = {split: len({g.file for g in groups}) for split, groups in self.groups.items() if groups}
        count = sum(group.rows for group in self.groups["train"])
        own = ", ".join(f"{split} from {files} parquet file{'s' * (files > 1)}" for split, files in used.items())
        rule = "" if len(used) == 3 else "; what is missing is held out of it"
        return f"{own}, streamed; {count:,} training documents{rule}"

    def read(self, lane: int, seed: int, cursor: Cursor | None = None) -> Iterator[StreamedDocument]:
        mine = range(lane, len(self.groups["train"]), self.lanes)
        at = cursor or {"epoch": 0, "group": 0, "row": 0}
        epoch, first_group, first_row = at["epoch"], at["group"], at["row"]
        while True:
            order = block_generator(f"parquet groups {seed} {lane}", epoch).permutation(len(mine))
            for place in range(first_group, len(mine)):
                number = mine[int(order[place])]
                group = self.groups["train"][number]
                texts = self._texts(group)
                rows = block_generator(f"parquet rows {seed} {number}", epoch).permutation(group.rows)
                for row in range(first_row, group.rows):
                    which = int(rows[row])
                    split = held_out(group.before + which, self._has)
                    yield StreamedDocument({"epoch": epoch, "group": place, "row": row}, split, texts[which])
                first_row = 0
            epoch, first_group = epoch + 1, 0

    def read_once(self, split: Split) -> Iterator[bytes]:
        if split != "train" and "valid" in self._has and "test" not in self._has:  # its odd documents are the test
            odd = split == "test"
            yield from (text for number, text in self._numbered("valid") if number % 2 == odd)
        elif split != "train" and split in self._has:
            yield from (text for _, text in self._numbered(split))
        else:
            yield from (text for number, text in self._numbered("train") if held_out(number, self._has) == split)

    @property
    def _has(self) -> set[Split]:
        return {split for split, groups in self.groups.items() if groups}

    def _numbered(self, split: Split) -> Iterator[tuple[int, bytes]]:
        for group in self.groups[split]:
            yield from enumerate(self._texts(group), start=group.before)

    def _texts(self, group: _Group) -> list[bytes]:
        parquet = library(f"text:{self.root}", "pyarrow.parquet")
        try:
            with parquet.ParquetFile(group.file) as file:
                table = file.read_row_group(group.at, columns=list(self.columns))
        except (OSError, library(f"text:{self.root}", "pyarrow").ArrowException) as error:
            raise UsageError(f"cannot read '{group.file}': {error}") from error
        return [joined(row, self.columns, f"'{group.file}'") for row in table.to_pylist()]

    def _about(self, file: Path) -> Any:
        """The file's footer, its columns checked."""
        parquet = library(f"text:{self.root}", "pyarrow.parquet")
        try:
            with parquet.ParquetFile(file) as opened:
                schema, about = opened.schema_arrow, opened.metadata
        except (OSError, library(f"text:{self.root}", "pyarrow").ArrowException) as error:
            raise UsageError(f"'{file}' is not a whole parquet file: {str(error).partition(chr(10))[0]}") from error
        kinds = {column.name: str(column.type) for column in schema}
        strings = [name for name, kind in kinds.items() if re.fullmatch(r"(large_)?string(_view)?", kind)]
        hint = f"say field={' or field='.join(strings)}" if strings else "no column of it holds text"
        for column in self.columns:
            if column not in kinds:
                raise UsageError(f"'{file}' has no column '{column}'; {hint}")
            if column not in strings:
                raise UsageError(f"column '{column}' of '{file}' holds {kinds[column]}, not text; {hint}")
        return about
