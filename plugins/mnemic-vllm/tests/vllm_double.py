"""A stand-in for the parts of vLLM 0.13 that the plugin extends: its allocator, scheduler and model runner, without the
model. Written from reading what they do; it proves that the plugin's two halves agree with each other and with the
definition, not that vLLM does what it is assumed to do.
"""

from dataclasses import dataclass, field
from types import SimpleNamespace as Bag
from typing import Any

import numpy as np
import torch


@dataclass(eq=False)
class Request:
    request_id: str
    prompt: list[int]
    output: list[int]
    sampling_params: Any = None
    sampled: int = 0
    num_computed_tokens: int = 0
    preemptions: int = 0

    @property
    def num_prompt_tokens(self) -> int:
        return len(self.prompt)

    @property
    def all_token_ids(self) -> list[int]:
        return self.prompt + self.output[: self.sampled]


@dataclass
class SchedulerOutput:
    num_scheduled_tokens: dict[str, int]
    new: dict[str, list[int]]
    cached: dict[str, tuple[int, list[int]]]
    finished: set[str] = field(default_factory=set)


class Pool:
    def __init__(self, pages: int) -> None:
        self.free = [Bag(block_id=page) for page in range(pages)]

    def free_blocks(self, blocks: Any) -> None:
        self.free += blocks


class Coordinator:
    def __init__(self, pages: int, page_size: int) -> None:
        self.manager = Bag(req_to_blocks={}, block_size=page_size, block_pool=Pool(pages))
        self.single_type_managers = (self.manager,)

    def get_num_blocks_to_allocate(self, request_id: str, num_tokens: int) -> int:
        return self._missing(request_id, num_tokens)

    def allocate_new_blocks(self, request_id: str, num_tokens: int) -> list[Any]:
        count = self._missing(request_id, num_tokens)
        new = [self.manager.block_pool.free.pop() for _ in range(count)]
        self.manager.req_to_blocks.setdefault(request_id, []).extend(new)
        return new

    def _missing(self, request_id: str, num_tokens: int) -> int:
        return -(-num_tokens // self.manager.block_size) - len(self.manager.req_to_blocks.get(request_id, []))


class Scheduler:
    """First come, first served; the newest is preempted when pages run out."""

    def __init__(self, vllm_config: Any, kv_cache_config: Any, budget: int) -> None:
        self.vllm_config, self.kv_cache_config, self.budget = vllm_config, kv_cache_config, budget
        self.scheduler_config = vllm_config.scheduler_config
        self.kv_cache_manager = Bag(coordinator=Coordinator(kv_cache_config.num_blocks, kv_cache_config.page_size))
        self.requests: dict[str, Request] = {}
        self.running: list[Request] = []
        self.waiting: list[Request] = []
        self.finished_req_ids: set[str] = set()

    def add_request(self, request: Request) -> None:
        self.requests[request.request_id] = request
        self.waiting.append(request)

    def schedule(self) -> SchedulerOutput:
        coordinator, pool = self.kv_cache_manager.coordinator, self.kv_cache_manager.coordinator.manager.block_pool
        output = SchedulerOutput({}, {}, {}, self.finished_req_ids)
        budget, preempted = self.budget, False
        for resumed in (False, True):
            queue = self.waiting if resumed else self.running
            index = 0
            while index < len(queue) and budget and not (resumed and preempted):
                request = queue[index]
                count = min(len(request.all_token_ids) - request.num_computed_tokens, budget)
                if 0 < self.scheduler_config.long_prefill_token_threshold < count:
                    count = self.scheduler_config.long_prefill_token_threshold
                need = request.num_computed_tokens + count
                while coordinator.get_num_blocks_to_allocate(request_id=request.request_id, num_tokens=need) > len(
                    pool.free
                ):
                    if resumed:
                        return self._advance(output)
                    victim = self.running.pop()
                    self._preempt_request(victim, 0.0)
                    preempted = True
                    if victim is request:
                        return self._advance(output)
                new = [b.block_id for b in coordinator.allocate_new_blocks(request.request_id, need)]
                if resumed:
                    output.new[request.request_id] = new
                    self.running.append(queue.pop(0))
                else:
                    output.cached[request.request_id] = (request.num_computed_tokens, new)
                    index += 1
                output.num_scheduled_tokens[request.request_id] = count
                budget -= count
        return self._advance(output)

    def _advance(self, output: SchedulerOutput) -> SchedulerOutput:
        for name, count in output.num_scheduled_tokens.items():
            self.requests[name].num_computed_tokens += count
        self.finished_req_ids = set()
        return output

    def _preempt_request(self, request: Request, timestamp: float) -> None:
        self._give_back(request)
        request.num_computed_tokens = 0
        request.preemptions += 1
        self.waiting.insert(0, request)

    def _give_back(self, request: Request) -> None:
        manager = self.kv_cache_manager.coordinator.manager
        manager.block_pool.free_blocks(reversed(manager.req_to_blocks.pop(request.request_id, [])))

    def update_from_output(self, output: SchedulerOutput) -> None:
        for name in output.num_scheduled_tokens:
            request = self.requests[name]
            if request.num_computed_tokens < len(request.all_token_ids):
                continue
            if request.sampled == len(request.output):
                self._give_back(request)
                self.running.remove(request)
                del self.requests[name]
                self.finished_req_ids.add(name)
            else:
                request.sampled += 1


class Table:
    def __init__(self, rows: int, columns: int, page_size: int) -> None:
        self.pages, self.page_size = np.full((rows, columns), -1), page_size
        self.num_blocks_per_row, self.blocks_per_kv_block = np.zeros(rows, int), 1
        self.block_tables = [self]

    def append_row(self, ids: list[int], row: int) -> None:
        start = self.num_blocks_per_row[row]
        self.pages[row, start : start + len(ids)] = ids
        self.num_blocks_per_row[row] += len(ids)

    def compute_slot_mapping(self, rows: np.ndarray, positions: np.ndarray) -> None:
        assert (positions // self.page_size < self.num_blocks_per_row[rows]).all()
        self.slots = self.pages[rows, positions // self.page_size] * self.page_size + positions % self.page_size


class Runner:
    """Instead of keys and values its one layer stores each token's request and logical position."""

    def __init__(self, kv_cache_config: Any, rows: int) -> None:
        self.kv_cache_config = kv_cache_config
        self.rows = rows
        size = kv_cache_config.page_size
        self.kv_caches = [torch.full((2, kv_cache_config.num_blocks, size, 1, 1), -1.0)]
        self.requests: dict[str, Any] = {}
        self.seq_lens = Bag(np=np.zeros(rows, np.int32), copy_to_gpu=lambda: None)
        self.input_batch: Any = Bag(req_ids=[], req_id_to_index={})

    def _update_states(self, output: SchedulerOutput) -> None:
        for name in output.finished:
            self.requests.pop(name, None)
        for name, ids in output.new.items():
            self.requests[name] = Bag(block_ids=(list(ids),), computed=0)
        for name, (computed, ids) in output.cached.items():
            self.requests[name].block_ids[0].extend(ids)
            self.requests[name].computed = computed
        table = Table(self.rows, self.kv_cache_config.num_blocks, self.kv_cache_config.page_size)
        names = list(output.num_scheduled_tokens)
        self.input_batch = Bag(req_ids=names, req_id_to_index={n: i for i, n in enumerate(names)}, block_table=table)
        for row, name in enumerate(names):
            table.append_row(self.requests[name].block_ids[0], row)

    def _prepare_inputs(self, output: SchedulerOutput, counts: np.ndarray) -> np.ndarray:
        rows = np.repeat(np.arange(len(counts)), counts)
        computed = np.asarray([self.requests[name].computed for name in self.input_batch.req_ids])
        positions = computed[rows] + np.concatenate([np.arange(count) for count in counts])
        self.input_batch.block_table.compute_slot_mapping(rows, positions)
        self.seq_lens.np[: len(counts)] = computed + counts
        return positions

    def execute(self, output: SchedulerOutput, number: dict[str, int]) -> list[tuple[str, list[int], list[int]]]:
        """Per request: the logical positions it feeds, and those that it then finds in its cache, in slot order."""
        self._update_states(output)
        if not output.num_scheduled_tokens:
            return []
        counts = np.asarray(list(output.num_scheduled_tokens.values()))
        positions = self._prepare_inputs(output, counts)
        table, cache = self.input_batch.block_table, self.kv_caches[0]
        rows = np.repeat(np.arange(len(counts)), counts)
        owners = np.asarray([number[name] for name in self.input_batch.req_ids])
        slots = torch.from_numpy(table.slots)
        cache[0].reshape(-1)[slots] = torch.from_numpy(positions).float()
        cache[1].reshape(-1)[slots] = torch.from_numpy(owners[rows]).float()
        seen = []
        for row, name in enumerate(self.input_batch.req_ids):
            used = np.arange(self.seq_lens.np[row])
            found = torch.from_numpy(
                table.pages[row, used // table.page_size] * table.page_size + used % table.page_size
            )
            assert (cache[1].reshape(-1)[found] == number[name]).all(), "another request's keys"
            seen.append((name, positions[rows == row].tolist(), cache[0].reshape(-1)[found].int().tolist()))
        return seen
