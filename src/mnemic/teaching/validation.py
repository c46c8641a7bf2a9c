"""Whether a file of traces keeps its promises, and what it holds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mnemic.errors import UsageError
from mnemic.options import explain
from mnemic.teaching.histograms import RATIOS, TOKENS, Histogram
from mnemic.teaching.records import TraceRecord, numbered_lines
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
    rows: int = Field(description="lines that hold anything")
    ok: int = Field(description="records that can be used")
    failed: int = Field(description="records that say why they cannot be used")
    problems: dict[str, int] = Field(description="lines that are no valid record, or have the id of another, by kind")
    examples: tuple[Problem, ...] = Field(description="the first of them")
    dropped: dict[str, int] = Field(description="failed records, and what the build left out, by reason")
    tokens_by: str = Field(description="what counted the tokens that the records do not give")
    histograms: dict[str, Histogram] = Field(description="lengths in tokens, ratios, blocks per trace")

    @property
    def is_valid(self) -> bool:
        return not self.problems


def validate(path: str | Path, counter: TokenCounter | None = None) -> ValidationReport:
    """Read every line of a file of traces and say what is wrong with it and what it holds.

    Args:
        counter: counts texts of which the record does not say how many tokens they have.

    Raises:
        UsageError: the file cannot be read.
    """
    path = Path(path)
    counter = counter or ApproximateTokens()
    problems: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    examples: list[Problem] = []
    seen: dict[str, int] = {}
    rows = ok = failed = 0
    lengths: dict[str, list[float]] = {name: [] for name in (*_LENGTHS, "ratio", "blocks per trace")}
    for number, line in numbered_lines(path):
        rows += 1
        found = _read(number, line)
        if isinstance(found, TraceRecord) and found.id in seen:
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
        _add(lengths, counts_of(found, counter))
    dropped.update(_rejected(rejected_path(path)))
    return ValidationReport(
        path=str(path),
        rows=rows,
        ok=ok,
        failed=failed,
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


_LENGTHS = ("prompt", "reasoning", "answer", "block", "memento")
_EDGES = {"ratio": RATIOS, "blocks per trace": (0, 1, 2, 4, 8, 16, 32, 64)}


def _add(lengths: dict[str, list[float]], counts: TraceCounts) -> None:
    lengths["prompt"].append(counts.prompt)
    lengths["reasoning"].append(counts.reasoning)
    lengths["answer"].append(counts.answer)
    lengths["block"] += counts.blocks
    lengths["memento"] += counts.mementos
    lengths["blocks per trace"].append(len(counts.blocks))
    if counts.ratio is not None:
        lengths["ratio"].append(counts.ratio)


def _read(number: int, line: str) -> TraceRecord | Problem:
    try:
        return TraceRecord.model_validate_json(line)
    except ValidationError as wrong:
        code = wrong.errors()[0]["type"]
        code = {"json_invalid": "no_json", "literal_error": "bad_field", "missing": "bad_field"}.get(code, code)
        return Problem(line=number, code=code, message=explain(f"line {number}", TraceRecord, wrong))


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
