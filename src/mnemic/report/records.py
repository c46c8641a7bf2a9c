"""results.jsonl: one JSON object per run, only ever appended to. Tables, charts and pages are made from it alone."""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mnemic.errors import MnemicError, UsageError

__all__ = [
    "RECALL",
    "Cost",
    "CurvePoint",
    "LengthPoint",
    "Record",
    "SlicePoint",
    "append_record",
    "json_line",
    "read_records",
]

SCHEMA = 1
RECALL = "recall@5"
"""What recall methods are judged by."""
log = logging.getLogger(__name__)


class _Part(BaseModel):
    """What a later version adds is kept, and numbers that JSON has no word for become null."""

    model_config = ConfigDict(extra="allow", frozen=True, coerce_numbers_to_str=True, populate_by_name=True)


class SlicePoint(_Part):
    """How a run did on what shares one value of a slice, such as positions at distance 1-16 or questions of a kind.

    Attributes:
        accuracy: the share that was right; of a recall method, recall@5.
    """

    value: str
    count: int = 0
    accuracy: float | None = None
    loss: float | None = None
    low: float | None = None
    high: float | None = None


class LengthPoint(_Part):
    """How the trained model did at another length of the same task."""

    length: int
    accuracy: float | None = None
    loss: float | None = None
    low: float | None = None
    high: float | None = None


class CurvePoint(_Part):
    step: int
    train_loss: float | None = None
    valid_loss: float | None = None
    valid_accuracy: float | None = None
    seconds: float | None = None


class Cost(_Part):
    """What a run took. Memory is counted in bytes per sequence, at the task's length and at others; that of a recall
    method in bytes of its store per passage.

    Attributes:
        build_seconds: to add every passage to the store and answer the first question.
        write_seconds, write_seconds_p95: to add one passage, median and 95th percentile; likewise to read.
        llm_calls: of a language model, those answered from a cache among them, as are their tokens.
    """

    parameters: int | None = None
    memory_bytes: int | None = None
    memory_bytes_at: dict[int, int] = Field(default_factory=dict)
    train_seconds: float | None = None
    train_tokens_per_second: float | None = None
    tokens_per_second: float | None = None
    decode_tokens_per_second: float | None = None
    peak_memory_bytes: int | None = None
    bytes_per_passage: float | None = None
    build_seconds: float | None = None
    write_seconds: float | None = None
    write_seconds_p95: float | None = None
    read_seconds: float | None = None
    read_seconds_p95: float | None = None
    llm_calls: int | None = None
    llm_prompt_tokens: int | None = None
    llm_completion_tokens: int | None = None


class Record(_Part):
    """One run: what was trained or asked, what it recalled, what it cost.

    Attributes:
        scores: what each question scored, for runs that may be compared question by question.
        asked: which questions those are, as a digest; scores of one digest stand in one order.
    """

    schema_version: int = Field(SCHEMA, alias="schema")
    run: str
    purpose: Literal["final", "search"] = "final"
    status: Literal["done", "failed"] = "done"
    error: str | None = None
    task: str
    task_config: dict[str, Any] = Field(default_factory=dict)
    information_bits: float | None = None
    chance: float | None = None
    memory: str
    places: tuple[str, ...] = ()
    layers: tuple[dict[str, Any], ...] = ()
    shell: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0
    lr: float | None = None
    lr_grid: tuple[float, ...] = ()
    lr_on_edge: bool = False
    training: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, float | None] = Field(default_factory=dict)
    slices: dict[str, tuple[SlicePoint, ...]] = Field(default_factory=dict)
    lengths: tuple[LengthPoint, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    scores: tuple[float, ...] = ()
    asked: str = ""
    cost: Cost = Field(default_factory=Cost)
    example: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    commit: str | None = None
    hardware: dict[str, Any] = Field(default_factory=dict)
    command: str = ""
    started: str | None = None
    finished: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, data: Any) -> Any:
        return _without_what_json_cannot_say(data)

    @property
    def asks_for_answers(self) -> bool:
        """Whether the task has answers to score, as against text whose loss is measured."""
        return self.score_metric != "loss"

    @property
    def recalls(self) -> bool:
        """Whether a recall method was asked, which is not trained."""
        return self.score_metric == RECALL

    @property
    def predicts_numbers(self) -> bool:
        """Whether the loss is the squared error of numbers."""
        return self.metrics.get("squared_error") is not None

    @property
    def score_metric(self) -> str:
        """The metric that memories are judged by."""
        return next((name for name in ("accuracy", RECALL) if self.metrics.get(name) is not None), "loss")


def append_record(path: Path, record: Record) -> None:
    """Add one run and return when it is on the disk; whatever stood there stays.

    The line is written whole under a lock, so several processes may append. A line that a killed writer left
    unfinished is cut away first: it holds no run, and the new line must not be glued to it.

    Raises:
        UsageError: the file holds something else than results.
        MnemicError: the disk is full, or the folder cannot be written.
    """
    line = json.dumps(record.model_dump(mode="json", by_alias=True), ensure_ascii=False, allow_nan=False) + "\n"
    try:
        is_new = not path.exists()
        with _locked(path) as file:
            _mend(file, path)
            rest = memoryview(line.encode())
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        if is_new:
            _sync_folder(path.parent)
    except OSError as error:
        raise MnemicError(f"cannot write {path}: {error.strerror}; the runs already in it are kept") from error


def read_records(path: Path) -> list[Record]:
    """Every run of a file in the order of first appearance, the latest line of each; [] when there is no file yet.

    Raises:
        UsageError: a line is JSON but no run, or a newer mnemic wrote it.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    found: dict[tuple[str, str], Record] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        data = _parsed(line)
        if data is None:
            if number < len(lines):
                log.warning("%s, line %d is not a whole JSON object and is left out", path, number)
            continue
        record = _record(data, path, number)
        found[record.run, record.purpose] = record
    return list(found.values())


def json_line(record: Record) -> str:
    """What `--json` prints for a run."""
    shown: dict[str, Any] = {
        "task": record.task, "memory": record.memory, "seed": record.seed, "status": record.status,
        "metrics": record.metrics, "cost": record.cost.model_dump(mode="json"),
    }  # fmt: skip
    if record.error is not None:
        shown["error"] = record.error
    return json.dumps(shown, ensure_ascii=False, allow_nan=False)


def _record(data: dict[str, Any], path: Path, number: int) -> Record:
    schema = data.get("schema", SCHEMA)
    if isinstance(schema, int) and schema > SCHEMA:
        raise UsageError(f"{path}, line {number} has schema {schema}; this mnemic reads up to {SCHEMA}, so upgrade it")
    try:
        return Record.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}, line {number} is not a run: {where}: {first['msg']}") from error


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The object of a line, or None for a torn one: no strict prefix of a JSON object is a JSON object."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def _mend(file: int, path: Path) -> None:
    """End the last line: give it the newline that it misses, or cut it away when it is torn."""
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, 0) != b"{":
        raise UsageError(f"{path} does not hold results (it does not start with a JSON object); name another file")
    tail, start = b"", size
    while start and b"\n" not in tail:
        block = min(start, 1 << 16)
        start -= block
        tail = os.pread(file, block, start) + tail
    last = tail.rpartition(b"\n")[2]
    if not last:
        return
    if _parsed(last) is None:
        os.ftruncate(file, size - len(last))
    else:
        os.write(file, b"\n")


def _sync_folder(folder: Path) -> None:
    """A new file's name lies in its folder, and must reach the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _without_what_json_cannot_say(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):  # file names may hold bytes that are no text
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_without_what_json_cannot_say(k): _without_what_json_cannot_say(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_without_what_json_cannot_say(item) for item in value]
    return value
