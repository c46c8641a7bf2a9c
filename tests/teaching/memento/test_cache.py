"""The evicting cache against a plain list of what each row holds."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen3Config

from mnemic.context.attention import Attention, AttentionConfig
from mnemic.teaching.memento.cache import COMPACT_SLOTS, EvictingCache
from mnemic.teaching.memento.key_room import LEAST_CAPACITY, EvictingHostMemory, EvictingLayer

GROUPS, WIDTH = 2, 3


def empty(batch: int, compact_slots: int | None, capacity: int = 0, layers: int = 2) -> EvictingCache:
    rooms = [EvictingLayer() for _ in range(layers)]
    for room in rooms:
        room.reserved = capacity
    return EvictingCache(rooms, batch, compact_slots)


def write(cache: EvictingCache, positions: list[int]) -> None:
    """One token per row, whose key and value say which it is."""
    at = np.array(positions)[:, None]
    cache.expect(at, np.ones_like(at, bool))
    for layer in range(len(cache.layers)):
        marks = torch.tensor(positions, dtype=torch.float32) + 1000.0 * torch.arange(len(positions)) + 0.25 * layer
        keys = marks[:, None, None, None].expand(-1, GROUPS, 1, WIDTH)
        cache.update(keys, -keys, layer)


def assert_holds(cache: EvictingCache, want: list[list[int]]) -> None:
    assert cache.resident.tolist() == [len(row) for row in want]
    for row, positions in enumerate(want):
        held = cache.valid[row, : cache.slots]
        assert cache.logical_pos[row, : cache.slots][held].tolist() == positions
        for layer, room in enumerate(cache.layers):
            marks = torch.tensor(positions, dtype=torch.float32) + 1000.0 * row + 0.25 * layer
            assert room.keys.shape[2] == cache.slots
            got = room.keys[row, :, torch.from_numpy(held)]
            assert torch.equal(got, marks[None, :, None].expand_as(got))
            assert torch.equal(room.values[row, :, torch.from_numpy(held)], -got)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_holds_what_a_list_would_hold(data: st.DataObject) -> None:
    batch = data.draw(st.integers(1, 3))
    cache = empty(batch, data.draw(st.sampled_from([None, 1, 4])))
    want: list[list[int]] = [[] for _ in range(batch)]
    position = 0
    for step in data.draw(st.lists(st.sampled_from(["write", "write", "write", "evict", "rows"]), max_size=25)):
        if step == "write" or not position:
            for _ in range(data.draw(st.integers(1, 6))):
                write(cache, [position] * len(want))
                want = [[*row, position] for row in want]
                position += 1
        elif step == "evict":
            row = data.draw(st.integers(0, len(want) - 1))
            start, end = sorted(data.draw(st.tuples(st.integers(0, position), st.integers(0, position))))
            gone = [p for p in want[row] if start <= p < end]
            assert cache.evict(row, start, end) == len(gone)
            want[row] = [p for p in want[row] if p not in gone]
            if cache.compact():
                assert cache.slots == max(map(len, want))
        elif len(want) == batch:  # marks say which row it was, so a row must keep its place
            whole, cache = (
                cache,
                cache.selected(range(batch - 1)).joined(cache.selected([batch - 1])) if batch > 1 else cache,
            )
            assert_holds(whole, want)
        assert_holds(cache, want)


def test_room_grows_by_half_and_falls_when_slots_are_closed_up() -> None:
    cache = empty(2, None)
    sizes = []
    for position in range(400):
        write(cache, [position] * 2)
        sizes.append(cache.allocated)
    assert sizes[0] == LEAST_CAPACITY
    assert len(set(sizes)) <= 7
    assert all(size <= max(LEAST_CAPACITY, 1.5 * (position + 1)) for position, size in enumerate(sizes))
    before = cache.allocated_bytes
    assert before == 2 * 2 * 2 * GROUPS * cache.allocated * WIDTH * 4  # keys and values, two layers, two rows
    cache.evict(0, 10, 390)
    assert not cache.compact()  # the other row still fills the slots
    cache.evict(1, 20, 20 + COMPACT_SLOTS - 1)
    assert not cache.compact()
    cache.evict(1, 10, 390)
    assert cache.compact()
    assert cache.allocated_bytes < before / 5
    assert_holds(cache, [[*range(10), *range(390, 400)]] * 2)


def test_one_row_has_no_holes_after_an_eviction() -> None:
    cache = empty(1, None)
    for position in range(10):
        write(cache, [position])
    cache.evict(0, 3, 4)
    assert cache.has_holes
    assert cache.compact()
    assert not cache.has_holes


def test_no_token_copies_what_is_there() -> None:
    cache = empty(1, None, capacity=300)
    write(cache, [0])
    where = cache.layers[0].keys.data_ptr()
    for position in range(1, 300):
        write(cache, [position])
        assert cache.layers[0].keys.data_ptr() == where
    assert cache.allocated == 300


def test_the_host_memory_counts_its_bytes_and_forks_apart() -> None:
    mixer = Attention(AttentionConfig(width=8, heads=2, conv_size=2), 0)
    memory = EvictingHostMemory(mixer.new_memory(2, device=torch.device("cpu"), dtype=torch.float32))
    memory.append(torch.ones(2, 2, 5, 4), torch.ones(2, 2, 5, 4))
    memory.seen = 5
    assert memory.nbytes == 2 * (2 * 2 * LEAST_CAPACITY * 4 * 4) + memory.conv.nbytes
    fork = memory.__deepcopy__({})
    fork.append(torch.zeros(2, 2, 1, 4), torch.zeros(2, 2, 1, 4))
    assert (memory.length, fork.length) == (5, 6)
    memory.keys[:] = 3
    assert (fork.keys[:, :, :5] == 1).all()
    memory.reset()
    assert memory.keys.shape[2] == memory.seen == 0


@pytest.mark.parametrize("name", ["olmo3", "qwen3-next", "host-hybrid"])
def test_only_full_attention_layers_evict(evicting: Any, name: str) -> None:
    cache = EvictingCache.of(evicting.model(name), 1)
    assert len(cache.rooms) == 1
    assert len(cache.layers) > 1


def test_every_layer_of_a_plain_model_evicts(evicting: Any) -> None:
    made = evicting.model("qwen3")
    assert isinstance(made.config, Qwen3Config)
    assert len(EvictingCache.of(made, 1).rooms) == made.config.num_hidden_layers
