"""Which files there are, and which reader each one wants."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mnemic.errors import MnemicError, UsageError, nearest
from mnemic.storage.reading.chats import read_chat
from mnemic.storage.reading.html import read_html
from mnemic.storage.reading.pdf import read_pdf
from mnemic.storage.reading.text import decoded, read_markdown, read_text
from mnemic.storage.records import Event

__all__ = ["FORMATS", "Unreadable", "events_of", "read_events"]


@dataclass(frozen=True)
class Unreadable:
    """A file, or a line of one, that gives no event, and why."""

    source: str
    reason: str


def _of_text(read: Callable[[str, str], Event]) -> Callable[[bytes, str], Iterator[Event]]:
    def reader(content: bytes, source: str) -> Iterator[Event]:
        yield read(decoded(content, source), source)

    return reader


_READERS: dict[str, Callable[[bytes, str], Iterator[Event | tuple[int, str]]]] = {
    "text": _of_text(read_text),
    "markdown": _of_text(read_markdown),
    "html": _of_text(read_html),
    "chat": lambda content, source: read_chat(decoded(content, source), source),
    "pdf": lambda content, source: iter([read_pdf(content, source)]),
}
_SUFFIXES = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".jsonl": "chat",
    ".ndjson": "chat",
    ".pdf": "pdf",
}
FORMATS = ("auto", *_READERS)


def read_events(path: Path, format: str = "auto") -> Iterator[Event | Unreadable]:
    """The events of a file, or of all files below a folder, in the order of their names; hidden ones are left out.

    Args:
        format: of every file; "auto" goes by the name of each.

    Raises:
        UsageError: there is no such file, or no such format.
    """
    if format not in FORMATS:
        raise UsageError(f"format is '{format}'{nearest(format, FORMATS)}")
    if not path.exists():
        raise UsageError(f"'{path}' does not exist; name a file or a folder to remember")
    files = [path] if not path.is_dir() else _below(path)
    if not files:
        raise UsageError(f"folder '{path}' has no files in it")
    for file in files:
        yield from _read(file, format)


def _below(folder: Path) -> list[Path]:
    found = (file for file in folder.rglob("*") if file.is_file())
    return sorted(file for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts))


def _read(file: Path, format: str) -> Iterator[Event | Unreadable]:
    source = file.as_posix()
    try:
        yield from events_of(file.read_bytes(), source, format)
    except MnemicError as error:
        yield Unreadable(source, str(error))
    except OSError as error:
        yield Unreadable(source, f"'{source}' cannot be read: {error.strerror}")


def events_of(content: bytes, source: str, format: str = "auto") -> Iterator[Event | Unreadable]:
    """The events of one file's content."""
    if format == "auto":
        format = _SUFFIXES.get(Path(source).suffix.lower(), "text")
    for found in _READERS[format](content, source):
        yield found if isinstance(found, Event) else Unreadable(f"{source}:{found[0]}", found[1])
