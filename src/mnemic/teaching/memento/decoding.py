"""A running batch of sequences that evict: prompts go in, tokens are fed, logits come out, rows come and go.

The order, as served: a token is sampled; if it completes a memento, the block leaves; then the token is fed, at its own
logical position. Generation, forced replays, measurement and the server all run on this.

Source: Kontonis et al. 2026 (arXiv 2604.09852).

Legend: B batch, T tokens of a prompt, E tokens of one extended for restart, V vocabulary.
"""

import inspect
import time
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnemic.errors import UsageError
from mnemic.models.config import MnemicConfig
from mnemic.models.visibility import layer_kinds
from mnemic.teaching.memento.blocks import NEVER, BlockTracker, Eviction, visible_until
from mnemic.teaching.memento.cache import EvictingCache
from mnemic.teaching.memento.restart import expand_for_restart
from mnemic.teaching.memento.rules import MarkerIds, MementoRules, Role
from mnemic.teaching.memento.step_masks import StepMasks

__all__ = ["Prompt", "Row", "RunningBatch", "Seconds", "check_model"]


@dataclass(frozen=True)
class Prompt:
    """
    Attributes:
        ids: the tokens.
        roles: who wrote each, as :class:`Role`; None: all of it is PROTECTED.
    """

    ids: Sequence[int]
    roles: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if not len(self.ids):
            raise UsageError("a prompt has no tokens; start it with at least one, such as the beginning of text")
        if self.roles is not None and len(self.roles) != len(self.ids):
            raise UsageError(f"a prompt has {len(self.ids)} tokens and {len(self.roles)} roles; give one for each")


@dataclass
class Row:
    """One sequence of the batch.

    Attributes:
        tokens: all that were fed, the prompt first; the index is the logical position.
        trace: tokens held after each of them was fed; a prompt is read in one pass, which holds all of it.
        evicted: how often a span left.
        forced: how often a block was ended by force.
        live: False once it has ended; what is fed to it then is no token of it.
    """

    tracker: BlockTracker
    tokens: list[int]
    trace: list[int]
    evicted: int = 0
    forced: int = 0
    live: bool = True

    def fork(self) -> "Row":
        return replace(self, tracker=self.tracker.copy(), tokens=list(self.tokens), trace=list(self.trace))


@dataclass
class Seconds:
    """Where the time went; on an accelerator a part is when its work was asked for."""

    forward: float = 0.0
    eviction: float = 0.0
    sampling: float = 0.0


@dataclass
class RunningBatch:
    """Rows that decode together; make one with :meth:`start`."""

    model: Any
    rules: MementoRules
    markers: MarkerIds
    cache: EvictingCache
    masks: StepMasks
    rows: list[Row] = field(default_factory=list)
    seconds: Seconds = field(default_factory=Seconds)

    @classmethod
    @torch.no_grad()
    def start(
        cls,
        model: Any,
        prompts: Sequence[Prompt],
        *,
        rules: MementoRules,
        markers: MarkerIds,
        compact_slots: int | None = None,
        capacity: int = 0,
    ) -> tuple[Self, Tensor]:
        """Read prompts in one pass, what they hide already hidden in it, and evict that.

        Args:
            compact_slots, capacity: as :meth:`EvictingCache.of`.

        Returns:
            the batch and the logits [B, V] after each prompt's last token.

        Raises:
            UsageError: a model that cannot evict, or cannot restart, with the reason.
        """
        check_model(model, rules)
        cache = EvictingCache.of(model, len(prompts), compact_slots=compact_slots, capacity=capacity)
        batch = cls(model, rules, markers, cache, StepMasks(model))
        began = time.perf_counter()
        read = [_read_prompt(prompt, rules, markers) for prompt in prompts]
        longest = max(len(one.source) for one in read)
        ids, positions = np.zeros((len(read), longest), np.int64), np.zeros((len(read), longest), np.int64)
        real, until = np.zeros((len(read), longest), bool), np.full((len(read), longest), NEVER, np.int64)
        for row, one in enumerate(read):
            pad = longest - len(one.source)
            ids[row, pad:] = np.asarray(prompts[row].ids)[one.source]
            positions[row, pad:], real[row, pad:] = one.source, True
            until[row, pad:] = np.where(one.until == NEVER, NEVER, one.until + pad)
            tokens = list(prompts[row].ids)
            batch.rows.append(Row(one.tracker, tokens, list(range(1, len(tokens) + 1)), one.evicted))
        cache.expect(positions, real)
        with batch.masks.kernel():
            logits = batch.forward(ids, positions, batch.masks.prefill(until, real))
        cache.note_allocation()
        middle = time.perf_counter()
        for row in range(len(read)):
            cache.evict_slots(row, until[row] < longest)
        cache.compact()
        batch.seconds.forward += middle - began
        batch.seconds.eviction += time.perf_counter() - middle
        return batch, logits

    @torch.no_grad()
    def feed(self, tokens: Sequence[int]) -> Tensor:
        """Feed one token per row and return the logits [B, V] after it; a row that is not live ignores its token."""
        began = time.perf_counter()
        again = [self.evict_before(row, token) for row, token in enumerate(tokens)]
        if any(gone is not None for gone in again):
            self.cache.compact()
        evicted = time.perf_counter()
        fed = [[*(span or ()), len(row.tokens)] if row.live else [] for row, span in zip(self.rows, again, strict=True)]
        for row, token in zip(self.rows, tokens, strict=True):
            if row.live:
                row.tokens.append(int(token))
        width = max(1, *map(len, fed))
        # to the right, so that the last column is every row's new token
        positions = np.array([[0] * (width - len(at)) + at for at in fed], np.int64)
        ids = np.array(
            [[0] * (width - len(at)) + [row.tokens[p] for p in at] for row, at in zip(self.rows, fed, strict=True)],
            np.int64,
        )
        real = np.arange(width) >= width - np.array([[len(at)] for at in fed])
        self.cache.expect(positions, real)
        for row, held in zip(self.rows, self.cache.resident.tolist(), strict=True):
            if row.live:
                row.trace.append(held)
        with self.masks.kernel():
            logits = self.forward(ids, positions, self.masks.step(self.cache, real))
        self.seconds.eviction += evicted - began
        self.seconds.forward += time.perf_counter() - evicted
        return logits

    def end(self, index: int) -> None:
        """A row has ended: it takes part without being fed, and what it held is freed."""
        self.rows[index].live = False
        self.cache.evict_slots(index, np.ones(self.cache.slots, bool))

    def selected(self, indices: Sequence[int]) -> Self:
        """A batch of its own with copies of these rows."""
        chosen = copy(self)
        chosen.cache = self.cache.selected(indices)
        chosen.rows = [self.rows[index].fork() for index in indices]
        return chosen

    def joined(self, other: "RunningBatch") -> Self:
        """A batch of its own with the rows of both, the other's last; of the same model, rules and markers."""
        both = copy(self)
        both.cache = self.cache.joined(other.cache)
        both.rows = [row.fork() for row in (*self.rows, *other.rows)]
        return both

    def evict_before(self, index: int, token: int) -> list[int] | None:
        """Evict what this token ends; the positions to feed again before it. None where nothing left."""
        row = self.rows[index]
        if not row.live:
            return None
        position = len(row.tokens)
        evictions = row.tracker.push(int(token), position)
        for eviction in evictions:
            self._drop(index, eviction, position)
        row.evicted += sum(eviction.end > eviction.start for eviction in evictions)
        if not evictions:
            return None
        rewind = evictions[-1].rewind_to
        return [] if rewind is None else list(range(rewind, position))

    def _drop(self, index: int, eviction: Eviction, position: int) -> None:
        self.cache.evict(index, eviction.start, eviction.end)
        if eviction.rewind_to is not None:
            self.cache.evict(index, eviction.rewind_to, position)

    def forward(self, ids: NDArray[np.int64], positions: NDArray[np.int64], mask: Any) -> Tensor:
        device = self.masks.device
        given: dict[str, Any] = {} if mask is None else {"attention_mask": mask}
        if self.masks.keeps_last_logits:
            given["logits_to_keep"] = 1
        out = self.model(
            input_ids=torch.from_numpy(ids).to(device),
            position_ids=torch.from_numpy(positions).to(device),
            past_key_values=self.cache,
            use_cache=True,
            **given,
        )
        return out.logits[:, -1]


@dataclass(frozen=True)
class _ReadPrompt:
    tracker: BlockTracker
    evicted: int
    source: NDArray[np.int64]  # [E], the position of each token that is fed
    until: NDArray[np.int64]  # [E], in indices of what is fed


def _read_prompt(prompt: Prompt, rules: MementoRules, markers: MarkerIds) -> _ReadPrompt:
    roles = np.full(len(prompt.ids), Role.PROTECTED) if prompt.roles is None else np.asarray(prompt.roles)
    tracker = BlockTracker(markers, rules)
    evicted = 0
    for position, (token, role) in enumerate(zip(prompt.ids, roles, strict=True)):
        evicted += sum(span.end > span.start for span in tracker.push(int(token), position, Role(int(role))))
    if rules.restart:
        extended = expand_for_restart(prompt.ids, markers, roles, mask_delimiters=rules.mask_delimiters)
        return _ReadPrompt(tracker, evicted, extended.source, extended.visible_until)
    return _ReadPrompt(tracker, evicted, np.arange(len(roles)), visible_until(prompt.ids, markers, rules, roles))


def check_model(model: Any, rules: MementoRules) -> None:
    """Refuse what cannot be decoded here.

    Raises:
        UsageError: an encoder-decoder, positions that cannot be given, or restart mode on layers that cannot go back.
    """
    if getattr(model.config, "is_encoder_decoder", False):
        raise UsageError(f"{type(model).__name__} has an encoder; mementos are for decoder-only models")
    takes = inspect.signature(getattr(model, "get_base_model", lambda: model)().forward).parameters
    if "position_ids" not in takes:
        raise UsageError(
            f"{type(model).__name__} takes no position_ids: it counts positions by the keys it holds, and would count "
            "wrong once some are gone"
        )
    others: list[str] = sorted(set(layer_kinds(model.config)) - {"full_attention"})
    if isinstance(model.config, MnemicConfig) and any(layer.get("conv_size") for layer in model.config.layers):
        others.append("short convolution")
    if rules.restart and others:
        raise UsageError(
            f"rules.restart=True rewinds the cache, which layers of {' and '.join(others)} cannot do; "
            "leave restart off, or take a model with plain full attention in every layer"
        )
