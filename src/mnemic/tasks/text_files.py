"""Reading text from where people keep it: files, folders, gzip, JSON lines, and the language reference of CPython."""

import codecs
import gzip
import json
import zlib
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from mnemic.errors import MnemicError, UsageError

__all__ = ["PYTHON_REFERENCE", "TEXT_SUFFIXES", "Document", "read_documents"]

PYTHON_REFERENCE = "python-reference"

_PROSE = ".txt .text .md .markdown .rst .org .tex .html .htm .xml .jsonl .raw .tokens .log"
_CODE = ".py .c .h .cc .cpp .hpp .cu .rs .go .java .js .ts .rb .jl .scala .hs .ml .lean .sh .sql .toml .yaml .yml"
TEXT_SUFFIXES = frozenset(f"{_PROSE} {_CODE}".split())

_WANTED = "mnemic reads UTF-8 text, JSON lines (.jsonl), and .gz of both"


class Document(NamedTuple):
    """One file's text as UTF-8 bytes, with its path below the folder that was named."""

    name: str
    text: bytes


def read_documents(path: str, field: str = "text") -> list[Document]:
    """The text under `path`: a file, every text file of a folder, or "python-reference"; blank ones are left out.

    Args:
        path: a file of any name, a folder (searched through, in the order of the names; dot-files are passed over),
        or
            "python-reference" for the `pydoc_data.topics` of the running interpreter.
        field: the field of each JSON line that holds the text.

    Raises:
        UsageError: nothing there, not readable, empty, or not text; the message names the file.
    """
    if path == PYTHON_REFERENCE:
        return _python_reference()
    root = Path(path).expanduser()
    try:
        if root.is_dir():
            files = _text_files(root)
        elif root.exists():
            files = [root]
        else:
            raise UsageError(f"no file or folder '{path}'; give the path of a text, or {PYTHON_REFERENCE}")
    except OSError as error:
        raise _unreadable(root, error) from error
    documents = [
        Document(file.relative_to(root).as_posix() if file != root else file.name, _read(file, field)) for file in files
    ]
    documents = [document for document in documents if document.text.strip()]
    if not documents:
        raise UsageError(f"'{path}' is empty: no text in {len(files)} file{'s' if len(files) > 1 else ''}")
    return documents


def _text_files(folder: Path) -> list[Path]:
    files = sorted(
        file
        for file in folder.rglob("*")
        if _suffix(file) in TEXT_SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    )
    if not files:
        raise UsageError(
            f"folder '{folder}' has no text files; looked for {' '.join(sorted(TEXT_SUFFIXES))} and .gz of them"
        )
    return files


def _suffix(file: Path) -> str:
    """The suffix that tells what is inside, ".gz" set aside."""
    plain = file.with_suffix("") if file.suffix.lower() == ".gz" else file
    return plain.suffix.lower()


def _read(file: Path, field: str) -> bytes:
    try:
        raw = file.read_bytes()
        if file.suffix.lower() == ".gz":
            raw = gzip.decompress(raw)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UsageError(f"'{file}' is not a whole gzip file ({error}); {_WANTED}") from error
    except OSError as error:
        raise _unreadable(file, error) from error
    text = _utf8(raw, file)
    return _json_lines(text, file, field) if _suffix(file) == ".jsonl" else text.strip(b"\n")


def _unreadable(file: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot read '{error.filename or file}': {error.strerror or error}")


def _utf8(raw: bytes, file: Path) -> bytes:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(f"'{file}' is UTF-16, or binary; {_WANTED}")
    raw = raw.removeprefix(codecs.BOM_UTF8)
    nul = raw.find(b"\0")
    if nul >= 0:
        raise UsageError(f"'{file}' is binary, not text (NUL at byte {nul}); {_WANTED}")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"'{file}' is binary or in another encoding, not UTF-8 (0x{raw[error.start]:02x} at byte {error.start}); "
            f"{_WANTED}"
        ) from error
    return raw


def _json_lines(raw: bytes, file: Path, field: str) -> bytes:
    texts = []
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise UsageError(f"line {number} of '{file}' is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise UsageError(f"line {number} of '{file}' is not a JSON object with a field '{field}'")
        if not isinstance(record.get(field), str):
            strings = [name for name, value in record.items() if isinstance(value, str)]
            choice = f"say field={' or field='.join(strings)}" if strings else "no field of it holds text"
            raise UsageError(f"line {number} of '{file}' has no text in field '{field}'; {choice}")
        # json turns a lone surrogate escape into a code point that UTF-8 cannot hold
        texts.append(record[field].encode("utf-8", errors="replace").strip(b"\n"))
    return b"\n\n".join(text for text in texts if text)


def _python_reference() -> list[Document]:
    """The language reference's topics in alphabetical order, each paragraph once.

    Topics quote each other at length ("augassign" is a part of "assignment"): left in, passages of the test split
    would stand word for word in the training split.
    """
    try:
        topics: dict[str, str] = import_module("pydoc_data.topics").topics
    except ImportError as error:
        raise MnemicError(
            f"this Python carries no language reference ({error}); name a file or folder instead"
        ) from error
    seen: set[str] = set()
    documents = []
    for name, topic in sorted(topics.items()):
        fresh = [paragraph for paragraph in topic.strip("\n").split("\n\n") if paragraph not in seen]
        seen.update(fresh)
        documents.append(Document(name, "\n\n".join(fresh).encode()))
    return [document for document in documents if document.text.strip()]
