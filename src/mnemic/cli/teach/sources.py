"""Where a build's traces come from, as the command line names it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from mnemic.options import validated
from mnemic.teaching.importers import read_traces
from mnemic.teaching.memento.synthetic import SYNTHETIC, SyntheticTrace, synthetic_traces
from mnemic.teaching.records import TraceRecord
from mnemic.teaching.seeding import SeedRules, seed_traces
from mnemic.teaching.sources import HUB

__all__ = ["Traces", "is_synthetic", "open_traces"]

_GLANCE = 200


@dataclass(frozen=True)
class Traces:
    """Traces that can be read again and again.

    Attributes:
        count: how many there are, None while counting them would mean downloading them.
        synthetic: the truth about them, where it is known.
    """

    records: Callable[[], Iterator[TraceRecord]]
    count: int | None
    synthetic: tuple[SyntheticTrace, ...] = ()

    def some(self) -> Iterator[TraceRecord]:
        """All of them, or the first where they are not counted."""
        return self.records() if self.count is not None else islice(self.records(), _GLANCE)


def is_synthetic(source: str) -> bool:
    return source.partition(":")[0] == SYNTHETIC


def open_traces(source: str, given: dict[str, Any]) -> Traces:
    """The traces of SOURCE by the options of the build, its seed rules applied."""
    chosen = {name: given[name] for name in ("answers_per_question", "whole_questions", "count", "seed")}
    rules = validated(
        "build", SeedRules, {**chosen, "drop_cjk": not given["keep_cjk"], "domains": given["domains"] or {}}
    )
    synthetic: tuple[SyntheticTrace, ...] = ()
    if is_synthetic(source):
        synthetic = tuple(synthetic_traces(source))

    def read() -> Iterator[TraceRecord]:
        if synthetic:
            return (trace.record for trace in synthetic)
        return read_traces(source, format=given["form"], limit=given["limit"], seed=given["seed"], split=given["split"])

    def records() -> Iterator[TraceRecord]:
        return seed_traces(read, rules)

    if source.startswith(HUB) and given["limit"] is None:
        return Traces(records, None)
    return Traces(records, sum(1 for _ in records()), synthetic)
