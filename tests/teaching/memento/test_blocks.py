"""Blocks, their mementos and what they hide, held against the definition read literally."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.teaching.memento.blocks import (
    NEVER,
    Block,
    BlockTracker,
    Eviction,
    parse_blocks,
    resident_tokens,
    visible_until,
)
from mnemic.teaching.memento.rules import MarkerIds, MementoRules, Role

MARKERS = MarkerIds(90, 91, 92, 93)
BS, BE, SS, SE = MARKERS
WORD = 1

RULES = [
    MementoRules(),
    MementoRules(mask_delimiters=True),
    MementoRules(keep_last_n_blocks=1),
    MementoRules(keep_last_n_blocks=2, mask_delimiters=True),
    MementoRules(keep_last_n_blocks=-1),
    MementoRules(keep_last_block_for_answer=True),
    MementoRules(restart=True, mask_delimiters=True),
    MementoRules(restart=True),
]
PLAIN_RULES = [rules for rules in RULES if not rules.restart]
tokens = st.lists(st.sampled_from([*MARKERS, WORD, WORD]), max_size=60)
roles = st.lists(st.sampled_from(list(Role)), min_size=60, max_size=60)


def written(*blocks: tuple[int, int], prompt: int = 3, answer: int = 2) -> list[int]:
    """A well-formed stream of blocks and mementos of these many tokens."""
    stream = [WORD] * prompt
    for block, memento in blocks:
        stream += [BS, *[WORD] * block, BE, SS, *[WORD] * memento, SE]
    return stream + [WORD] * answer


def of_definition(blocks: list[Block], length: int, rules: MementoRules) -> np.ndarray:
    """visible_until of a well-formed stream: the published definition, key by key."""
    until = np.full(length, NEVER)
    keep = rules.keep_last_n_blocks
    for index, block in enumerate(blocks):
        if rules.keep_last_block_for_answer:
            end = blocks[index + 1].start if index + 1 < len(blocks) else NEVER
        else:
            end = blocks[index + keep].summary_end if keep >= 0 and index + keep < len(blocks) else NEVER
        inside = range(block.start, block.end + 1) if rules.mask_delimiters else range(block.start + 1, block.end)
        until[list(inside)] = end
    return until


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=5))
def test_a_well_formed_stream_is_read_as_written(sizes: list[tuple[int, int]]) -> None:
    stream = written(*sizes)
    found = parse_blocks(stream, MARKERS)
    start = 3
    for (block, memento), got in zip(sizes, found, strict=True):
        end = start + block + 1
        assert got == Block(start, end, end + 1, end + memento + 2)
        start = got.summary_end + 1
    for rules in PLAIN_RULES:
        np.testing.assert_array_equal(visible_until(stream, MARKERS, rules), of_definition(found, len(stream), rules))


def test_the_end_of_a_memento_does_not_see_its_block_and_all_before_it_does() -> None:
    stream = written((2, 2))
    (block,) = parse_blocks(stream, MARKERS)
    until = visible_until(stream, MARKERS, MementoRules())
    assert set(until[block.start + 1 : block.end]) == {block.summary_end}


@pytest.mark.parametrize("rules", RULES, ids=str)
@given(stream=tokens, who=roles)
def test_token_by_token_evicts_what_the_vector_hides(rules: MementoRules, stream: list[int], who: list[Role]) -> None:
    tracker = BlockTracker(MARKERS, rules)
    gone = np.full(len(stream), NEVER)
    for position, (token, role) in enumerate(zip(stream, who, strict=False)):
        for eviction in tracker.push(token, position, role):
            assert 0 <= eviction.start <= eviction.end <= position
            assert (eviction.rewind_to is not None) == rules.restart
            gone[eviction.start : eviction.end] = np.minimum(gone[eviction.start : eviction.end], position)
    if rules.restart:
        return
    until = visible_until(stream, MARKERS, rules, who[: len(stream)])
    np.testing.assert_array_equal(until, gone)
    assert (until > np.arange(len(stream))).all(), "a token always sees itself"


@given(stream=tokens, who=roles)
def test_protected_text_is_never_hidden_and_markers_in_foreign_text_mean_nothing(
    stream: list[int], who: list[Role]
) -> None:
    role = np.asarray(who[: len(stream)], dtype=int)
    for rules in PLAIN_RULES:
        until = visible_until(stream, MARKERS, rules, role)
        assert (until[role == Role.PROTECTED] == NEVER).all()
        harmless = np.where(role == Role.ASSISTANT, stream, WORD)
        np.testing.assert_array_equal(until, visible_until(harmless, MARKERS, rules, role))


@given(stream=tokens)
def test_every_marker_out_of_order_is_counted_and_every_other_belongs_to_a_block(stream: list[int]) -> None:
    tracker = BlockTracker(MARKERS, MementoRules())
    for position, token in enumerate(stream):
        tracker.push(token, position)
    whole = 4 * len(tracker.blocks)
    markers = sum(token in MARKERS for token in stream)
    assert whole <= markers
    for block in tracker.blocks:
        assert [stream[p] for p in block] == list(MARKERS)
        assert list(block) == sorted(block)
    used = [p for block in tracker.blocks for p in block]
    assert len(set(used)) == len(used)


@pytest.mark.parametrize(
    ("stream", "malformed", "blocks"),
    [
        ([BE], 1, 0),
        ([SS], 1, 0),
        ([SE], 1, 0),
        ([BS, SS, SE, BE], 2, 0),  # the memento of a block that is still open
        ([BS, BS, BE, SS, SE, BE, SS, SE], 1, 2),  # nested
        ([BS, BE, SS, SS, SE], 1, 1),
        ([BS, BE, BE, SS, SE], 1, 1),
        (written((1, 1), (1, 1)), 0, 2),
    ],
)
def test_malformed_streams(stream: list[int], malformed: int, blocks: int) -> None:
    tracker = BlockTracker(MARKERS, MementoRules())
    for position, token in enumerate(stream):
        tracker.push(token, position)
    assert (tracker.malformed, len(tracker.blocks)) == (malformed, blocks)


def test_a_nested_block_goes_with_its_memento_and_the_outer_one_takes_the_rest() -> None:
    stream = [BS, WORD, BS, WORD, BE, SS, WORD, SE, WORD, BE, SS, WORD, SE, WORD]
    until = visible_until(stream, MARKERS, MementoRules())
    assert until[3] == 7
    assert (until[[1, 2, 4, 5, 6, 7, 8]] == 12).all()
    assert (until[[0, 9, 10, 11, 12, 13]] == NEVER).all()


def test_a_block_does_not_reach_across_a_user_turn() -> None:
    stream = [WORD, BS, WORD, WORD, BE, SS, WORD, SE]
    who = [Role.PROTECTED, Role.ASSISTANT, Role.ASSISTANT, Role.PROTECTED, *[Role.ASSISTANT] * 4]
    assert parse_blocks(stream, MARKERS, who) == []
    assert (visible_until(stream, MARKERS, MementoRules(), who) == NEVER).all()


def test_what_a_tool_returned_goes_with_its_block_and_its_markers_are_text() -> None:
    stream = [WORD, BS, WORD, BE, SE, WORD, BE, SS, WORD, SE]
    who = [Role.PROTECTED, Role.ASSISTANT, Role.ASSISTANT, Role.OBSERVED, Role.OBSERVED, *[Role.ASSISTANT] * 5]
    assert parse_blocks(stream, MARKERS, who) == [Block(1, 6, 7, 9)]
    assert (visible_until(stream, MARKERS, MementoRules(), who)[2:6] == 9).all()


@pytest.mark.parametrize(("mask_delimiters", "span"), [(False, (2, 4)), (True, (1, 5))])
def test_restart_says_where_to_read_again_and_takes_the_markers_if_asked_to(mask_delimiters, span) -> None:
    tracker = BlockTracker(MARKERS, MementoRules(restart=True, mask_delimiters=mask_delimiters))
    stream = written((2, 1), prompt=1)
    evictions = [e for position, token in enumerate(stream) for e in tracker.push(token, position)]
    assert evictions == [Eviction(*span, rewind_to=5)]


def test_the_next_block_lets_the_last_one_go_when_the_answer_may_see_it() -> None:
    stream = written((2, 1), (2, 1))
    first, second = parse_blocks(stream, MARKERS)
    until = visible_until(stream, MARKERS, MementoRules(keep_last_block_for_answer=True))
    assert set(until[first.start + 1 : first.end]) == {second.start}
    assert set(until[second.start + 1 : second.end]) == {NEVER}


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=5))
def test_resident_tokens_are_those_a_query_sees(sizes: list[tuple[int, int]]) -> None:
    until = visible_until(written(*sizes), MARKERS, MementoRules())
    seen = [int(((np.arange(len(until)) <= q) & (q < until)).sum()) for q in range(len(until))]
    assert resident_tokens(until).tolist() == seen


@pytest.mark.parametrize(("blocks", "block", "memento", "delimiters"), [(8, 16, 1, 2), (4, 5, 3, 0)])
def test_the_peak_is_the_closed_form(blocks: int, block: int, memento: int, delimiters: int) -> None:
    prompt, answer = 11, 3
    stream = written(*[(block, memento)] * blocks, prompt=prompt, answer=answer)
    rules = MementoRules(mask_delimiters=delimiters == 0)
    last = prompt + (blocks - 1) * (memento + 2 + delimiters) + block + memento + 3
    wanted = max(last, prompt + blocks * (memento + 2 + delimiters) + answer)
    assert resident_tokens(visible_until(stream, MARKERS, rules)).max() == wanted
    assert len(stream) == prompt + blocks * (block + memento + 4) + answer


def test_wrong_use_is_named() -> None:
    with pytest.raises(UsageError, match="expand_for_restart"):
        visible_until([WORD], MARKERS, MementoRules(restart=True))
    with pytest.raises(UsageError, match=r"\(2,\) and \(1,\)"):
        visible_until([WORD, WORD], MARKERS, MementoRules(), [Role.ASSISTANT])
    with pytest.raises(ValueError, match="keep_last_n_blocks=0"):
        MementoRules(keep_last_n_blocks=1, keep_last_block_for_answer=True)
    with pytest.raises(ValueError, match="restart"):
        MementoRules(keep_last_n_blocks=2, restart=True)
