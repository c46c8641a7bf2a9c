"""Tokenised traces as training rows, in the form that a stage of training asks for.

Legend: T tokens of a row, R rows.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED
from mnemic.teaching.memento.blocks import NEVER, Block, parse_blocks, visible_until
from mnemic.teaching.memento.restart import expand_for_restart
from mnemic.teaching.memento.rules import MarkerIds, MementoRules
from mnemic.teaching.row import Row, completion_labels
from mnemic.teaching.tokenised_traces import TokenisedTraces, Trace

__all__ = ["Attention", "RowOptions", "TraceRows", "rendered"]

Attention = Literal["full", "memento", "restart", "plain"]


class RowOptions(BaseModel):
    """How a trace becomes a row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attention: Attention = Field(
        "memento",
        description="full: nothing is hidden; memento: blocks are, by the rules; restart: mementos are read twice; "
        "plain: the raw trace, without markers and mementos",
    )
    rules: MementoRules = Field(MementoRules(), description="what memento attention hides")
    max_length: int = Field(32_768, ge=8, description="tokens of the longest row; longer traces end after a memento")
    loss_on_blocks: bool = Field(True, description="train what stands inside blocks, and not only what stands around")


class TraceRows(Sequence[Row]):
    """The traces that give a row, rendered when they are asked for.

    Attributes:
        lengths: [R].
        dropped: reason -> traces that give none.
    """

    def __init__(self, traces: TokenisedTraces, options: RowOptions) -> None:
        self.traces, self.options = traces, options
        self.dropped = Counter(traces.dropped)
        kept: list[tuple[int, int, int]] = []
        for index in range(len(traces)):
            found = _cut(traces[index], options, traces.markers)
            if isinstance(found, str):
                self.dropped[found] += 1
            else:
                kept.append((index, *found))
        if not kept:
            why = ", ".join(f"{count} {reason}" for reason, count in sorted(self.dropped.items()))
            raise UsageError(f"no trace gives a row of at most max_length={options.max_length} tokens: {why}")
        self._index, self._end, self.lengths = (np.asarray(values) for values in zip(*kept, strict=True))

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, row: int) -> Row:  # type: ignore[override]
        return rendered(self.traces[int(self._index[row])], int(self._end[row]), self.options, self.traces.markers)

    def trace(self, row: int) -> Trace:
        """The whole trace that a row was made of."""
        return self.traces[int(self._index[row])]

    def name(self, row: int) -> str:
        return self.traces.names[int(self._index[row])]

    def family(self, row: int) -> str:
        """Every trace is one by itself."""
        return self.name(row)

    @property
    def label(self) -> str:
        return self.options.attention

    @property
    def limit(self) -> int:
        return self.options.max_length

    @property
    def vocab_size(self) -> int:
        return self.traces.vocab_size

    @property
    def pad(self) -> int:
        return self.traces.pad

    @property
    def key(self) -> str:
        return self.traces.key


def rendered(trace: Trace, end: int, options: RowOptions, markers: MarkerIds) -> Row:
    """The first `end` tokens of a trace as a row."""
    ids, roles = trace.ids[:end], trace.roles[:end]
    labels = completion_labels(ids, trace.answer_from)
    if not options.loss_on_blocks:
        _silence_blocks(labels, parse_blocks(ids, markers, roles))
    if options.attention == "restart":
        extended = expand_for_restart(ids, markers, roles, mask_delimiters=options.rules.mask_delimiters)
        source = extended.source
        return Row(ids[source], np.where(extended.is_copy, UNASKED, labels[source]), source, extended.visible_until)
    hides = options.attention == "memento"
    until = visible_until(ids, markers, options.rules, roles) if hides else np.full(end, NEVER, np.int64)
    return Row(ids, labels, np.arange(end), until)


def _silence_blocks(labels: NDArray[np.int64], blocks: list[Block]) -> None:
    for block in blocks:
        labels[block.start : block.end - 1] = UNASKED  # the last one inside still predicts the end of the block


def _cut(trace: Trace, options: RowOptions, markers: MarkerIds) -> tuple[int, int] | str:
    """How many tokens of a trace are used and how long its row is then, or why it gives none."""
    limit = options.max_length
    if trace.answer_from >= limit:
        return "prompt too long"
    if len(trace.ids) <= trace.answer_from:
        return "nothing to learn"
    blocks = parse_blocks(trace.ids, markers, trace.roles)
    again = sorted((b.summary_end + 1, b.summary_end - b.summary_start) for b in blocks)
    repeats = options.attention == "restart"

    def length(end: int) -> int:
        return end + (sum(size for closed, size in again if closed <= end) if repeats else 0)

    if length(len(trace.ids)) <= limit:
        return len(trace.ids), length(len(trace.ids))
    if options.attention == "plain":
        return limit, limit
    fitting = [closed for closed, _ in again if closed > trace.answer_from and length(closed) <= limit]
    return (fitting[-1], length(fitting[-1])) if fitting else "no whole memento within max_length"
