"""The sequences that decode together in the engine: they are let in, sampled for, fed, and let go.

Nothing here waits, and no thread is known; :mod:`mnemic.teaching.memento.engine` decides who comes and who goes.

Legend: B rows, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mnemic.teaching.memento.decoding import RunningBatch
from mnemic.teaching.memento.engine_sequences import Continuation, FinishReason
from mnemic.teaching.memento.marker_logits import BlockCap, forbidden_markers
from mnemic.teaching.memento.rereading import read_on
from mnemic.teaching.memento.rules import MarkerIds, MementoRules

__all__ = ["EngineRows"]


@dataclass
class EngineRows:
    """
    Attributes:
        ends: tokens that end a text.
        context: tokens that a sequence may have, prompt included.
        budget: tokens that one sequence may hold.
        active: the sequences, as the batch has them.
        batch: None while there are none.
        logits: [B, V] in float32, for each row's next token.
    """

    model: Any
    rules: MementoRules
    markers: MarkerIds
    ends: frozenset[int]
    context: int
    budget: int
    active: list[Continuation] = field(default_factory=list)
    batch: RunningBatch | None = None
    logits: Tensor | None = None

    @property
    def longest(self) -> int:
        """Tokens that the longest row holds."""
        return int(self.batch.cache.resident.max()) if self.batch is not None else 0

    @property
    def resident(self) -> int:
        return int(self.batch.cache.resident.sum()) if self.batch is not None else 0

    @property
    def allocated_bytes(self) -> int:
        return self.batch.cache.allocated_bytes if self.batch is not None else 0

    def let_in(self, group: Sequence[Continuation]) -> None:
        """Read the prompt that these share, once, and let each of them decode; one that was here before goes on."""
        first = group[0]
        batch, logits = RunningBatch.start(self.model, [first.request.prompt], rules=self.rules, markers=self.markers)
        if not first.trace:
            for one in group:
                one.note(batch.rows[0].trace)
        if first.generated:
            logits = read_on(batch, first.generated)
            batch.rows[0].forced = first.forced
        if len(group) > 1:
            batch, logits = batch.selected([0] * len(group)), logits.expand(len(group), -1)
        joined = batch if self.batch is None else self.batch.joined(batch)
        joined.cache.compact()
        new = logits.float().cpu()
        self.logits = new if self.logits is None else torch.cat([self.logits, new])
        self.batch, self.active = joined, [*self.active, *group]

    def keep(self, indices: Sequence[int]) -> None:
        """Only these rows stay."""
        if len(indices) == len(self.active):
            return
        assert self.batch is not None
        assert self.logits is not None
        if not indices:
            self.clear()
            return
        self.active = [self.active[index] for index in indices]
        self.batch, self.logits = self.batch.selected(indices), self.logits[list(indices)]
        self.batch.cache.compact()

    def clear(self) -> None:
        self.active, self.batch, self.logits = [], None, None

    def cap_blocks(self) -> None:
        """Leave only the block's end to rows whose block is as long as the rules allow."""
        assert self.batch is not None
        assert self.logits is not None
        if self.rules.max_block_tokens:
            cap = BlockCap(self.batch.rows, self.rules.max_block_tokens)
            self.logits = cap(torch.empty(0, dtype=torch.int64), self.logits)

    def sample(self, index: int) -> FinishReason | None:
        """Sample for one row and tell the text; why the sequence has ended with that, None when it goes on."""
        assert self.batch is not None
        assert self.logits is not None
        one, row, logits = self.active[index], self.batch.rows[index], self.logits[index]
        sampling = one.request.sampling
        if sampling.well_formed:
            logits = logits.clone()
            logits[[marker for marker in forbidden_markers(row.tracker) if marker >= 0]] = -torch.inf
        token = one.sample(logits)
        one.forced = row.forced
        stops = one.take(token, ends=token in self.ends)
        most = self.context
        if sampling.max_tokens is not None:
            most = min(most, len(one.request.prompt.ids) + sampling.max_tokens)
        # the token would be fed at position len(row.tokens), and with it the row must still fit
        full = len(row.tokens) + 1 >= most or int(self.batch.cache.resident[index]) >= self.budget
        return "stop" if stops else "length" if full else None

    def feed(self) -> None:
        """Feed every row the token that was sampled for it."""
        assert self.batch is not None
        self.logits = self.batch.feed([one.generated[-1] for one in self.active]).float().cpu()
        for one, held in zip(self.active, self.batch.cache.resident.tolist(), strict=True):
            one.note([held])
