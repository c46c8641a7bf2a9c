"""Positions, pages and copies, held against doing the same one key at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mnemic_vllm.compaction import plan
from mnemic_vllm.gather import move_slots, page_axis
from mnemic_vllm.spans import EvictedSpans

SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda s: (s[0], s[0] + s[1])), max_size=8)


@given(SPANS)
def test_logical_and_physical_positions_agree_with_a_list_of_survivors(added: list[tuple[int, int]]) -> None:
    spans, gone = EvictedSpans(), set()
    for start, end in added:
        spans.add(start, end)
        gone |= set(range(start, end))
        left = [position for position in range(60) if position not in gone]
        assert spans.total == len(gone)
        assert [spans.physical(position) for position in left] == list(range(len(left)))
        assert [spans.logical(slot) for slot in range(len(left))] == left
        assert [spans.evicted_before(p) for p in range(60)] == [sum(g < p for g in gone) for p in range(60)]
        edges = [edge for span in spans.spans() for edge in span]
        assert edges == sorted(set(edges)), "sorted, and no two spans touch"


@given(SPANS)
def test_a_position_that_left_has_no_slot(added: list[tuple[int, int]]) -> None:
    spans = EvictedSpans()
    for start, end in added:
        spans.add(start, end)
    for position in range(60):
        if any(start <= position < end for start, end in added):
            assert position in spans
            with pytest.raises(KeyError):
                spans.physical(position)


@given(st.data(), st.integers(1, 5), st.integers(0, 30))
def test_a_plan_closes_all_gaps_at_once(data: st.DataObject, page_size: int, resident: int) -> None:
    dropped = data.draw(
        st.lists(st.tuples(st.integers(0, resident), st.integers(0, resident)).map(sorted).map(tuple), max_size=5)
    )
    pages = -(-resident // page_size) + data.draw(st.integers(0, 2))
    ids = data.draw(st.permutations(range(pages + 3)))[:pages]
    memory = {(page, offset): None for page in ids for offset in range(page_size)}
    for slot in range(resident):
        memory[ids[slot // page_size], slot % page_size] = slot
    done = plan(dropped, resident, ids, page_size)
    held = {tuple(move[:2]): memory[tuple(move[:2])] for move in done.moves.tolist()}
    for from_page, from_offset, to_page, to_offset in done.moves.tolist():
        memory[to_page, to_offset] = held[from_page, from_offset]
    left = [slot for slot in range(resident) if not any(start <= slot < end for start, end in dropped)]
    assert [memory[ids[slot // page_size], slot % page_size] for slot in range(done.resident)] == left
    assert (done.pages - 1) * page_size < done.resident <= done.pages * page_size
    sources, targets = done.slots(page_size)
    assert (sources // page_size).tolist() == done.moves[:, 0].tolist()
    assert (targets % page_size).tolist() == done.moves[:, 3].tolist()


@given(st.integers(0, 2**31), st.booleans(), st.booleans())
def test_one_gather_copies_keys_and_values_as_one_copy_per_key_would(seed: int, flash: bool, heads_first: bool) -> None:
    rng = np.random.default_rng(seed)
    pages, size, moves = 5, 3, int(rng.integers(0, 8))
    shape = (2, pages, size, 2, 4) if flash else (pages, 2, size, 2, 4)
    cache = torch.from_numpy(rng.normal(size=shape))
    if heads_first:  # laid out as [.., H, P, D] in memory, as one of vLLM's layouts is
        cache = cache.transpose(2, 3).contiguous().transpose(2, 3)
    sources, targets = (torch.from_numpy(rng.permutation(pages * size)[:moves]) for _ in range(2))
    wanted = cache.clone()
    for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
        for kind in range(2):
            to = wanted[kind, target // size] if flash else wanted[target // size, kind]
            come = cache[kind, source // size] if flash else cache[source // size, kind]
            to[target % size] = come[source % size]
    move_slots(cache, page_axis(cache, pages), sources, targets)
    assert torch.equal(cache, wanted)


def test_caches_cut_into_smaller_pages_than_the_allocators_count_the_same_slots() -> None:
    """Slots are counted through the whole cache, so it does not matter how it is cut."""
    coarse = torch.arange(2 * 4 * 6.0).reshape(2, 4, 6, 1, 1)
    fine = coarse.clone().reshape(2, 12, 2, 1, 1)
    sources, targets = torch.tensor([7, 20, 21]), torch.tensor([1, 2, 3])
    move_slots(coarse, page_axis(coarse, 4), sources, targets)
    move_slots(fine, page_axis(fine, 4), sources, targets)
    assert torch.equal(coarse.flatten(), fine.flatten())


@pytest.mark.parametrize("shape", [(3, 5, 2, 1, 1), (2, 2, 3, 1, 1), (2, 5, 3, 4)])
def test_a_cache_whose_pages_cannot_be_told_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cannot tell the pages"):
        page_axis(torch.zeros(shape), shape[1])
