"""What a file of traces holds, domain by domain, in the figures that published data sets give."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, median

from pydantic import BaseModel, ConfigDict, Field

from mnemic.teaching.records import TraceRecord, read_jsonl
from mnemic.teaching.tokens import ApproximateTokens, TokenCounter
from mnemic.teaching.validation import TraceCounts, counts_of

__all__ = ["DomainStats", "TraceStats", "stats"]

_ALL = "all"


class DomainStats(BaseModel):
    """Traces of one domain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    traces: int = Field(description="usable traces")
    blocks: float = Field(description="median blocks of a trace")
    block_tokens: float | None = Field(description="mean tokens of a block")
    memento_tokens: float | None = Field(description="mean tokens of a memento")
    trace_block_tokens: float = Field(description="mean tokens of all blocks of a trace")
    trace_memento_tokens: float = Field(description="mean tokens of all mementos of a trace")
    compression: float | None = Field(description="tokens of blocks by tokens of the mementos that replace them")
    block_chars: float | None = Field(description="median characters of a block")
    memento_chars: float | None = Field(description="median characters of a memento")
    char_ratio: float | None = Field(description="median of memento characters by block characters")
    score: float | None = Field(description="mean score of the judge")
    passed: float | None = Field(description="share of mementos with at least 8 points")


class TraceStats(BaseModel):
    """All traces and every domain by itself; failed records are only counted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    failed: int
    tokens_by: str
    teachers: dict[str, int]
    domains: dict[str, DomainStats]


def stats(path: str | Path, counter: TokenCounter | None = None) -> TraceStats:
    """Figures of a file of traces, the domain "all" first.

    Raises:
        UsageError: the file cannot be read, or a line is no trace.
    """
    counter = counter or ApproximateTokens()
    by_domain: dict[str, list[TraceCounts]] = defaultdict(list)
    teachers: Counter[str] = Counter()
    failed = 0
    for record in read_jsonl(Path(path), TraceRecord):
        if record.status == "failed":
            failed += 1
            continue
        counts = counts_of(record, counter)
        by_domain[_ALL].append(counts)
        by_domain[record.meta.domain or "unknown"].append(counts)
        teachers[record.provenance.teacher or "unknown"] += 1
    return TraceStats(
        path=str(path),
        failed=failed,
        tokens_by=counter.name,
        teachers=dict(teachers.most_common()),
        domains={domain: _figures(counts) for domain, counts in by_domain.items()},
    )


def _figures(traces: list[TraceCounts]) -> DomainStats:
    blocks = [n for t in traces for n in t.blocks]
    mementos = [n for t in traces for n in t.mementos]
    replaced = [n for t in traces for n in t.blocks[: len(t.mementos)]]
    ratios = [m / b for t in traces for m, b in zip(t.memento_chars, t.block_chars, strict=False) if b]
    scores = [score for t in traces for score in t.scores]
    return DomainStats(
        traces=len(traces),
        blocks=median(len(t.blocks) for t in traces),
        block_tokens=_mean(blocks),
        memento_tokens=_mean(mementos),
        trace_block_tokens=fmean(sum(t.blocks) for t in traces),
        trace_memento_tokens=fmean(sum(t.mementos) for t in traces),
        compression=sum(replaced) / sum(mementos) if sum(mementos) else None,
        block_chars=_median(n for t in traces for n in t.block_chars),
        memento_chars=_median(n for t in traces for n in t.memento_chars),
        char_ratio=_median(ratios),
        score=_mean(scores),
        passed=_mean([score >= 8 for score in scores]),
    )


def _mean(values: list[int] | list[float] | list[bool]) -> float | None:
    return fmean(values) if values else None


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return median(found) if found else None
