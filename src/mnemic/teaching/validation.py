"""Whether a file of records keeps its promises, and what it holds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mnemic.errors import UsageError
from mnemic.options import explain
from mnemic.teaching.histograms import RATIOS, TOKENS, Histogram
from mnemic.teaching.records import RECALL, TRACE, RecallRecord, TraceRecord, numbered_lines
from mnemic.teaching.tokens import ApproximateTokens, TokenCounter

__all__ = ["Problem", "TraceCounts", "ValidationReport", "counts_of", "rejected_path", "validate"]

_SHOWN = 20


class Problem(BaseModel):
    """One line that is no valid record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    line: int
    code: str = Field(description="what is wrong, in one word that reports count")
    message: str


class TraceCounts(BaseModel):
    """Sizes of one trace, in tokens and characters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: int
    reasoning: int
    answer: int
    blocks: tuple[int, ...]
    mementos: tuple[int, ...]
    block_chars: tuple[int, ...]
    memento_chars: tuple[int, ...]
    scores: tuple[float, ...]

    @property
    def ratio(self) -> float | None:
        """Tokens of the mementos by those of the blocks that have one."""
        replaced = sum(self.blocks[: len(self.mementos)])
        return sum(self.mementos) / replaced if replaced else None


class ValidationReport(BaseModel):
    """What `validate` found. Failed records and rejected items are counted, and are no problem."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    schema_: str = Field(TRACE, description="kind of the records")
    rows: int = Field(description="lines that hold anything")
    ok: int = Field(description="records that can be used")
    failed: int = Field(description="records that say why they cannot be used")
    kinds: dict[str, int] = Field(default_factory=dict, description="usable recall records: valid, empty, plain")
    problems: dict[str, int] = Field(description="lines that are no valid record, or have the id of another, by kind")
    examples: tuple[Problem, ...] = Field(description="the first of them")
    dropped: dict[str, int] = Field(description="failed records, and what the build left out, by reason")
    tokens_by: str = Field(description="what counted the tokens that the records do not give")
    histograms: dict[str, Histogram] = Field(description="lengths in tokens, ratios, how many of what")

    @property
    def is_valid(self) -> bool:
        return not self.problems


def validate(path: str | Path, counter: TokenCounter | None = None, schema: str = TRACE) -> ValidationReport:
    """Read every line of a file of records and say what is wrong with it and what it holds.

    Args:
        schema: kind of the records, `TRACE` or `RECALL`.
        counter: counts texts of which the record does not say how many tokens they have.

    Raises:
        UsageError: the file cannot be read.
    """
    path = Path(path)
    counter = counter or ApproximateTokens()
    rules = _RULES[schema]
    problems: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    examples: list[Problem] = []
    seen: dict[str, int] = {}
    rows = ok = failed = 0
    lengths: dict[str, list[float]] = {name: [] for name in rules.figures}
    for number, line in numbered_lines(path):
        rows += 1
        found = _read(number, line, rules.record)
        if not isinstance(found, Problem) and found.id in seen:
            first = seen[found.id]
            found = Problem(line=number, code="duplicate_id", message=f"id '{found.id}' is that of line {first}")
        if isinstance(found, Problem):
            problems[found.code] += 1
            examples += [found] if len(examples) < _SHOWN else []
            continue
        seen[found.id] = number
        if found.status == "failed":
            failed += 1
            dropped[_reason(found.error)] += 1
            continue
        ok += 1
        if isinstance(found, RecallRecord):
            kinds[found.kind] += 1
        for name, values in rules.measure(found, counter).items():
            lengths[name] += values
    dropped.update(_rejected(rejected_path(path)))
    return ValidationReport(
        path=str(path),
        schema_=schema,
        rows=rows,
        ok=ok,
        failed=failed,
        kinds=dict(sorted(kinds.items())),
        problems=dict(problems.most_common()),
        examples=tuple(examples),
        dropped=dict(dropped.most_common()),
        tokens_by=counter.name,
        histograms={name: Histogram.of(values, _EDGES.get(name, TOKENS)) for name, values in lengths.items()},
    )


def rejected_path(path: Path) -> Path:
    """Where a build says what it left out of `path`."""
    return path.with_name(f"{path.stem}.rejected.jsonl")


def counts_of(record: TraceRecord, counter: TokenCounter) -> TraceCounts:
    """Sizes of a trace; tokens as the record gives them, counted where it does not."""
    blocks = [s for s in record.segments if s.kind == "block"]
    mementos = [s for s in record.segments if s.kind == "memento"]
    sizes = {id(s): s.tokens if s.tokens is not None else counter.count(s.text) for s in record.segments}
    return TraceCounts(
        prompt=sum(counter.count(turn.content) for turn in record.prompt),
        reasoning=sum(sizes[id(s)] for s in record.segments if s.kind != "memento"),
        answer=counter.count(record.answer),
        blocks=tuple(sizes[id(s)] for s in blocks),
        mementos=tuple(sizes[id(s)] for s in mementos),
        block_chars=tuple(len(s.text) for s in blocks),
        memento_chars=tuple(len(s.text) for s in mementos),
        scores=tuple(s.score for s in mementos if s.score is not None),
    )


_EDGES = {"ratio": RATIOS, "blocks per trace": (0, 1, 2, 4, 8, 16, 32, 64)}


def _of_trace(record: TraceRecord, counter: TokenCounter) -> dict[str, list[float]]:
    counts = counts_of(record, counter)
    return {
        "prompt": [counts.prompt],
        "reasoning": [counts.reasoning],
        "answer": [counts.answer],
        "block": list(counts.blocks),
        "memento": list(counts.mementos),
        "ratio": [] if counts.ratio is None else [counts.ratio],
        "blocks per trace": [len(counts.blocks)],
    }


def _of_recall(record: RecallRecord, counter: TokenCounter) -> dict[str, list[float]]:
    """Notes are measured where they say something: all empty ones are the same word."""
    context = counter.count(record.context)
    notes = [counter.count(record.summary)] if record.summary is not None and not record.empty else []
    return {
        "context": [context],
        "query": [counter.count(record.query)],
        "answer": [counter.count(record.answer)],
        "note": list(notes),
        "ratio": [note / context for note in notes],
    }


@dataclass(frozen=True)
class _Rules:
    """How records of one kind are read and measured; `measure` gives values under the names `figures`."""

    record: type[TraceRecord] | type[RecallRecord]
    measure: Callable[[Any, TokenCounter], dict[str, list[float]]]
    figures: tuple[str, ...]


_RULES: Mapping[str, _Rules] = MappingProxyType(
    {
        TRACE: _Rules(
            TraceRecord,
            _of_trace,
            ("prompt", "reasoning", "answer", "block", "memento", "ratio", "blocks per trace"),
        ),
        RECALL: _Rules(RecallRecord, _of_recall, ("context", "query", "answer", "note", "ratio")),
    }
)


def _read(number: int, line: str, kind: type[TraceRecord] | type[RecallRecord]) -> TraceRecord | RecallRecord | Problem:
    try:
        return kind.model_validate_json(line)
    except ValidationError as wrong:
        code = wrong.errors()[0]["type"]
        code = {"json_invalid": "no_json", "literal_error": "bad_field", "missing": "bad_field"}.get(code, code)
        return Problem(line=number, code=code, message=explain(f"line {number}", kind, wrong))


def _rejected(path: Path) -> Iterator[str]:
    """Reasons in the file beside a build's result; lines of it that cannot be read are one reason too."""
    try:
        for _, line in numbered_lines(path):
            yield _rejection(line)
    except UsageError:
        return


def _rejection(line: str) -> str:
    try:
        row: Any = json.loads(line)
        return str(row["error"]) if row["status"] == "failed" else _reason(row["reason"])
    except (ValueError, LookupError, TypeError):
        return "unreadable"


def _reason(error: str | None) -> str:
    return (error or "unknown").partition(":")[0]
