"""What one stage has made of each item: a file that is only appended to, one JSON object per line.

{"id", "status": "ok", "input": digest, "item": {...}}
{"id", "status": "dropped", "input": digest, "reason": "..."}
{"id", "status": "failed", "input": digest, "error": "BadReply", "reason": "...", "transient": false}

The digest is of the item that went in, so that a line about an item that has since changed no longer counts.
"""

import errno
import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from mnemic.errors import MnemicError

__all__ = ["Entry", "StageLog", "Status", "digest", "json_text"]

log = logging.getLogger(__name__)
Status = Literal["ok", "dropped", "failed"]
_SYNC_EVERY = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """Where the newest line about an item is, and what it says in short."""

    status: Status
    input: str
    transient: bool
    offset: int
    length: int


class StageLog:
    """Opens the file, or makes it. A line that a killed writer left unfinished is cut off, so that none is glued to it.

    Raises:
        MnemicError: the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._entries: dict[str, Entry] = {}
        self._unsynced = 0
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self._end = self._read_entries()
            if os.fstat(self._file).st_size > self._end:
                log.warning("%s: its last line was not finished and is cut off", path)
                os.ftruncate(self._file, self._end)
        except OSError as failed:
            raise MnemicError(f"cannot use {path}: {failed.strerror}") from failed

    def find(self, item_id: str) -> Entry | None:
        with self._lock:
            return self._entries.get(item_id)

    def read(self, entry: Entry) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(os.pread(self._file, entry.length, entry.offset))
        return record

    def append(self, record: dict[str, Any]) -> None:
        """Add one line; every few lines it is waited for until they are on disk.

        Raises:
            MnemicError: the line could not be written; those before it are whole.
        """
        line = json_text(record).encode() + b"\n"
        with self._lock:
            try:
                self._write(line)
                self._unsynced += 1
                if self._unsynced >= _SYNC_EVERY:
                    os.fsync(self._file)
                    self._unsynced = 0
            except OSError as failed:
                os.ftruncate(self._file, self._end)
                why = "the disk is full" if failed.errno in (errno.ENOSPC, errno.EDQUOT) else failed.strerror
                raise MnemicError(f"cannot write {self.path}: {why}; what was written before is kept") from failed
            self._entries[record["id"]] = _entry(record, self._end, len(line))
            self._end += len(line)

    def close(self) -> None:
        with self._lock:
            os.fsync(self._file)
            os.close(self._file)

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def _read_entries(self) -> int:
        """Note all whole lines and return where they end."""
        end = 0
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    break
                try:
                    record = json.loads(line)
                    self._entries[record["id"]] = _entry(record, end, len(line))
                except (ValueError, LookupError, TypeError):
                    log.warning("%s: line %d cannot be read; its item is worked on again", self.path, number)
                end += len(line)
        return end


def json_text(value: Any) -> str:
    """One line of JSON, the same for the same value.

    Raises:
        TypeError, ValueError: the value is no JSON.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can spell
        return json.dumps(value, allow_nan=False)
    return text


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _entry(record: dict[str, Any], offset: int, length: int) -> Entry:
    if record["status"] not in ("ok", "dropped", "failed"):
        raise ValueError(record["status"])
    return Entry(record["status"], record["input"], record.get("transient", False), offset, length)
