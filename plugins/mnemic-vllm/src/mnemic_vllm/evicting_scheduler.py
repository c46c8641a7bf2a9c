"""The scheduler's share of eviction, on top of whatever scheduler it is mixed into; nothing of vLLM is imported.

Before each step it closes the gaps of blocks whose memento is complete, tells vLLM's allocator how many keys a request
really holds, and keeps pieces of prompts from crossing a position at which a block leaves.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import UsageError
from mnemic_vllm.compaction import Compaction
from mnemic_vllm.ledger import RequestLedger
from mnemic_vllm.refusals import check
from mnemic_vllm.settings import Settings, assistant_spans
from mnemic_vllm.versions import gate, installed_version

__all__ = ["EvictingScheduler", "StepEvictions"]


@dataclass
class StepEvictions:
    """What a step's workers must know, carried by vLLM's SchedulerOutput as its attribute `mnemic`.

    Attributes:
        sources, targets: [M], slots to copy from and to, of all requests together.
        pages: by request that lost keys, how many of its pages stay.
        evicted: by scheduled request, how many keys have left it so far; those that lost none are not there.
    """

    sources: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    targets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    pages: dict[str, int] = field(default_factory=dict)
    evicted: dict[str, int] = field(default_factory=dict)


class EvictingScheduler:
    """To be mixed in before vLLM's Scheduler; inert unless `additional_config` holds the plugin's options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        this: Any = self
        self._settings = Settings.of(this.vllm_config)
        if self._settings is None or gate(installed_version(), self._settings.mode) is None:
            self._settings = None
            return
        check(this.vllm_config, this.kv_cache_config)
        self._ledgers: dict[str, RequestLedger] = {}
        self._compactions: dict[str, Compaction] = {}
        coordinator = this.kv_cache_manager.coordinator
        for name in ("get_num_blocks_to_allocate", "allocate_new_blocks"):
            setattr(coordinator, name, self._counting_residents(getattr(coordinator, name)))

    def add_request(self, request: Any) -> None:
        if self._settings is not None:
            spans: tuple[tuple[int, int], ...] = ()
            try:
                spans = assistant_spans(request.sampling_params, request.num_prompt_tokens)
            except UsageError as error:  # an error here would end the whole engine, not the request
                warnings.warn(
                    f"request {request.request_id}: {error}; its prompt is kept", RuntimeWarning, stacklevel=2
                )
            self._ledgers[request.request_id] = RequestLedger(
                self._settings.markers, self._settings.rules, request.num_prompt_tokens, spans
            )
        super().add_request(request)  # type: ignore[misc]

    def schedule(self) -> Any:
        if self._settings is None:
            return super().schedule()  # type: ignore[misc]
        this: Any = self
        for finished in this.finished_req_ids:
            self._ledgers.pop(finished, None)
        self._compactions = {}
        for request in this.running:
            self._evict(request)
        config = this.scheduler_config
        usual = config.long_prefill_token_threshold
        config.long_prefill_token_threshold = self._longest_piece(usual)
        try:
            output = super().schedule()  # type: ignore[misc]
        finally:
            config.long_prefill_token_threshold = usual
        output.mnemic = self._step(output.num_scheduled_tokens)
        return output

    def _preempt_request(self, request: Any, *args: Any, **kwargs: Any) -> None:
        super()._preempt_request(request, *args, **kwargs)  # type: ignore[misc]
        if self._settings is not None:
            self._ledgers[request.request_id].start_again()
            self._compactions.pop(request.request_id, None)  # its pages may be another's by the time they are copied

    def _evict(self, request: Any) -> None:
        ledger = self._ledgers[request.request_id]
        ledger.read(request.all_token_ids)
        if ledger.piece(request.num_computed_tokens) != 0:
            return
        this: Any = self
        manager = this.kv_cache_manager.coordinator.single_type_managers[0]
        blocks = manager.req_to_blocks[request.request_id]
        done = ledger.evict(request.num_computed_tokens, [block.block_id for block in blocks], manager.block_size)
        assert done is not None
        compaction, request.num_computed_tokens = done
        freed = blocks[compaction.pages :]
        del blocks[compaction.pages :]
        manager.block_pool.free_blocks(reversed(freed))
        self._compactions[request.request_id] = compaction

    def _longest_piece(self, usual: int) -> int:
        """The most tokens of one request that this step may feed (vLLM has one limit for all): 0 for no limit."""
        pieces = [usual] if usual > 0 else []
        this: Any = self
        for request in this.requests.values():
            ledger = self._ledgers[request.request_id]
            ledger.read(request.all_token_ids)
            piece = ledger.piece(request.num_computed_tokens)
            if piece is not None and piece < len(request.all_token_ids) - request.num_computed_tokens:
                pieces.append(piece)
        return min(pieces, default=0)

    def _step(self, scheduled: dict[str, int]) -> StepEvictions:
        this: Any = self
        size = this.kv_cache_manager.coordinator.single_type_managers[0].block_size
        slots = [compaction.slots(size) for compaction in self._compactions.values()]
        totals = {name: self._ledgers[name].spans.total for name in scheduled}
        return StepEvictions(
            sources=np.concatenate([np.zeros(0, np.int64), *(source for source, _ in slots)]),
            targets=np.concatenate([np.zeros(0, np.int64), *(target for _, target in slots)]),
            pages={name: compaction.pages for name, compaction in self._compactions.items()},
            evicted={name: total for name, total in totals.items() if total},
        )

    def _counting_residents(self, allocate: Callable[..., Any]) -> Callable[..., Any]:
        def with_residents(request_id: str, num_tokens: int, *args: Any, **kwargs: Any) -> Any:
            ledger = self._ledgers.get(request_id)
            return allocate(request_id, num_tokens - (ledger.spans.total if ledger else 0), *args, **kwargs)

        return with_residents
