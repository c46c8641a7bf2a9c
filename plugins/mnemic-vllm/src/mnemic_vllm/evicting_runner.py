"""The workers' share of eviction, on top of the model runner it is mixed into; nothing of vLLM is imported.

Positions and token ids stay logical, as vLLM computes them. Only where keys lie (slot mapping) and how many there are
(sequence lengths) is counted without those that left.

Legend: R requests of the batch.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mnemic_vllm.evicting_scheduler import StepEvictions
from mnemic_vllm.gather import move_slots, page_axis

__all__ = ["EvictingRunner"]


class EvictingRunner:
    """To be mixed in before vLLM's GPUModelRunner."""

    _step: StepEvictions | None = None

    def _update_states(self, scheduler_output: Any) -> Any:
        self._step = getattr(scheduler_output, "mnemic", None)
        if self._step is not None and self._step.pages:
            self._forget_pages(self._step)
            self._move_keys(self._step)
        return super()._update_states(scheduler_output)  # type: ignore[misc]

    def _prepare_inputs(self, scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
        evicted = self._evicted()
        if not evicted.any():
            return super()._prepare_inputs(scheduler_output, *args, **kwargs)  # type: ignore[misc]
        this: Any = self
        table = this.input_batch.block_table
        usual = table.compute_slot_mapping
        table.compute_slot_mapping = lambda rows, positions: usual(rows, positions - evicted[rows])
        try:
            prepared = super()._prepare_inputs(scheduler_output, *args, **kwargs)  # type: ignore[misc]
        finally:
            del table.compute_slot_mapping  # the class's own is seen again
        this.seq_lens.np[: len(evicted)] -= evicted.astype(this.seq_lens.np.dtype)
        this.seq_lens.copy_to_gpu()
        return prepared

    def _evicted(self) -> NDArray[np.int64]:
        """[R]: keys that have left each request of the batch, in the batch's order."""
        this: Any = self
        counts = self._step.evicted if self._step is not None else {}
        return np.asarray([counts.get(name, 0) for name in this.input_batch.req_ids], np.int64)

    def _forget_pages(self, step: StepEvictions) -> None:
        """Before this step's new pages are appended to those that stay."""
        this: Any = self
        batch = this.input_batch
        for name, pages in step.pages.items():
            for ids in this.requests[name].block_ids:
                del ids[pages:]
            row = batch.req_id_to_index.get(name)
            if row is not None:
                for table in batch.block_table.block_tables:
                    table.num_blocks_per_row[row] = pages * table.blocks_per_kv_block

    def _move_keys(self, step: StepEvictions) -> None:
        if not len(step.sources):
            return
        this: Any = self
        pages = this.kv_cache_config.num_blocks
        placed: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}
        for cache in this.kv_caches:
            if cache.device not in placed:
                sources, targets = torch.from_numpy(step.sources), torch.from_numpy(step.targets)
                placed[cache.device] = sources.to(cache.device), targets.to(cache.device)
            move_slots(cache, page_axis(cache, pages), *placed[cache.device])
