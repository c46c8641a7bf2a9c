"""A text corpus in three splits that share no text: what a language model trains on, is chosen by, and is judged on."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from mnemic.tasks.base import Split
from mnemic.tasks.text_files import PYTHON_REFERENCE, Document, read_documents

__all__ = ["Corpus", "read_corpus", "split_by_position", "split_named"]

_JOIN = b"\n\n"
_UNIT = 1 << 16  # bytes; smaller files are put together first, so that 5 % of each is still a passage and not a line
_NAMED = re.compile(r"(?:^|[._-])(?:(train(?:ing)?)|(valid(?:ation)?|val|dev)|(test))(?=[._-]|\d|$)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Text in three splits, UTF-8. Two corpora are equal when their texts are.

    Attributes:
        path: as the user wrote it.
        splits: "train", "valid", "test" -> text.
        origin: how the splits were made, in one line.
    """

    path: str
    splits: Mapping[Split, bytes] = field(repr=False)
    origin: str

    @cached_property
    def digest(self) -> str:
        """sha256 over the three texts."""
        content = hashlib.sha256()
        for text in self.splits.values():
            content.update(hashlib.sha256(text).digest())
        return content.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Corpus) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def read_corpus(path: str, field: str = "text") -> Corpus:
    """Read `path` (see `text_files.read_documents`) and split it.

    In a folder with files, or folders, named train* and valid* or test* (or validation*, val*, dev*, or
    "wiki.train.txt") these are the splits, and nothing else in it is used. Valid without test gives its second half
    as test; test without valid takes valid from the end of train. Everywhere else each file is split by position; see
    `split_by_position`.

    Raises:
        UsageError: no text there; the message names the file.
    """
    documents = read_documents(path, field)
    named = _named_splits(documents)
    if named["train"] and (named["valid"] or named["test"]):
        return _from_named(path, named, len(documents))
    parts = [split_by_position(unit) for unit in _units(documents)]
    train, valid, test = (_JOIN.join(part[i] for part in parts if part[i]) for i in range(3))
    kind = "topics" if path == PYTHON_REFERENCE else "files"
    what = f"{len(documents)} {kind}" if len(documents) > 1 else documents[0].name
    return Corpus(path, _splits(train, valid, test), f"{what}, split 90/5/5 by position")


def split_by_position(text: bytes) -> tuple[bytes, bytes, bytes]:
    """The first 90 %, the next 5 % and the last 5 % of a text, cut at the paragraph end nearest to each.

    Without a paragraph end within 2 % of the text, at a line's end; else between words; else between characters.
    """
    first, second = (_cut(text, len(text) * percent // 100, len(text) // 50) for percent in (90, 95))
    return text[:first], text[first:second], text[second:]


def _cut(text: bytes, at: int, reach: int) -> int:
    for mark in (b"\n\n", b"\n", b" "):
        found = (text.rfind(mark, max(0, at - reach), at), text.find(mark, at, at + reach))
        ends = [place + len(mark) for place in found if place >= 0]
        if ends:
            return min(ends, key=lambda end: abs(end - at))
    while at < len(text) and text[at] & 0xC0 == 0x80:  # inside a character of several bytes
        at += 1
    return at


def _units(documents: Sequence[Document]) -> list[bytes]:
    """Neighbouring documents joined until each unit has at least `_UNIT` bytes (or there is only one)."""
    units: list[list[bytes]] = [[]]
    size = 0
    for document in documents:
        if size >= _UNIT:
            units.append([])
            size = 0
        units[-1].append(document.text)
        size += len(document.text)
    if size < _UNIT and len(units) > 1:
        units[-2].extend(units.pop())
    return [_JOIN.join(unit) for unit in units]


def _named_splits(documents: Sequence[Document]) -> dict[Split, list[Document]]:
    named: dict[Split, list[Document]] = {"train": [], "valid": [], "test": []}
    for document in documents:
        split = split_named(document.name)
        if split is not None:
            named[split].append(document)
    return named


def split_named(name: str) -> Split | None:
    """The split that a path below the corpus's folder names, if it does: "train-00001.txt", "validation/a.md"."""
    match = _NAMED.search(name.split("/")[0])
    if match is None:
        return None
    return "train" if match[1] else "valid" if match[2] else "test"


def _from_named(path: str, named: Mapping[Split, Sequence[Document]], found: int) -> Corpus:
    train, valid, test = (
        _JOIN.join(document.text for document in named[split]) for split in ("train", "valid", "test")
    )
    origin = ", ".join(f"{split} from {_names(files)}" for split, files in named.items() if files)
    if not test:
        half = _cut(valid, len(valid) // 2, len(valid) // 10)
        valid, test = valid[:half], valid[half:]
        origin += " (its second half is test)"
    elif not valid:
        end = _cut(train, len(train) * 95 // 100, len(train) // 50)
        train, valid = train[:end], train[end:]
        origin += "; valid is the end of train"
    unused = found - sum(len(files) for files in named.values())
    if unused:
        origin += f"; {unused} other file{'s' if unused > 1 else ''} not used"
    return Corpus(path, _splits(train, valid, test), origin)


def _names(files: Sequence[Document]) -> str:
    return files[0].name if len(files) == 1 else f"{files[0].name} … {files[-1].name} ({len(files)} files)"


def _splits(train: bytes, valid: bytes, test: bytes) -> Mapping[Split, bytes]:
    return {"train": train, "valid": valid, "test": test}
