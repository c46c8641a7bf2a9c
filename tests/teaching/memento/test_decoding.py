"""Evict-and-decode is the masked forward pass, token for token, whatever the model, the rule and the batch."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.models.visibility import attention_masks
from mnemic.teaching.memento.blocks import resident_tokens, visible_until
from mnemic.teaching.memento.decoding import Prompt, RunningBatch
from mnemic.teaching.memento.restart import expand_for_restart
from mnemic.teaching.memento.rules import MarkerIds, MementoRules, Role

MARKERS = MarkerIds(1, 2, 3, 4)
NEVER_EVICT = MementoRules(keep_last_n_blocks=-1)
RULES = [
    MementoRules(),
    MementoRules(mask_delimiters=True),
    MementoRules(keep_last_n_blocks=1),
    MementoRules(keep_last_n_blocks=2, mask_delimiters=True),
    NEVER_EVICT,
    MementoRules(keep_last_block_for_answer=True),
]
PLAIN = ("llama", "qwen3", "olmo2", "host")
HYBRID = ("olmo3", "qwen3-next", "host-hybrid")
TOLERANCE = {"atol": 1e-4, "rtol": 0}
RESTART = MementoRules(restart=True)
BARE_RESTART = MementoRules(restart=True, mask_delimiters=True)


@torch.no_grad()
def masked(made: Any, ids: list[int], roles: list[int], rules: MementoRules) -> torch.Tensor:
    """The logits [T, V] of one parallel pass; of a restarted memento those of its first copy."""
    if not rules.restart:
        source, until = np.arange(len(ids)), visible_until(ids, MARKERS, rules, roles)
        own = source
    else:
        source, copies, until = expand_for_restart(ids, MARKERS, roles, mask_delimiters=rules.mask_delimiters)
        own = np.flatnonzero(~copies)
    mask = attention_masks(made.config, torch.from_numpy(until)[None])
    tokens = torch.tensor(ids)[torch.from_numpy(source)][None]
    return made(input_ids=tokens, position_ids=torch.from_numpy(source)[None], attention_mask=mask).logits[0, own]


def written(prompt: list[int], continuation: list[int]) -> list[int]:
    return [Role.PROTECTED] * len(prompt) + [Role.ASSISTANT] * len(continuation)


def replay(batch: RunningBatch, logits: torch.Tensor, continuations: list[list[int]]) -> list[torch.Tensor]:
    """Per row the logits before its first new token and after each."""
    kept = [[row] for row in logits]
    for step in range(max(map(len, continuations))):
        for index, row in enumerate(continuations):
            if step == len(row):
                batch.end(index)
        logits = batch.feed([row[step] if step < len(row) else 0 for row in continuations])
        for index, row in enumerate(continuations):
            if step < len(row):
                kept[index].append(logits[index])
    return [torch.stack(row) for row in kept]


def assert_equal_to_mask(
    evicting: Any, made: Any, rules: MementoRules, seed: int, compact_slots: int | None = 5
) -> RunningBatch:
    prompts, continuations = evicting.rows(seed)
    batch, logits = RunningBatch.start(
        made, [Prompt(row) for row in prompts], rules=rules, markers=MARKERS, compact_slots=compact_slots
    )
    for got, prompt, continuation in zip(replay(batch, logits, continuations), prompts, continuations, strict=True):
        want = masked(made, prompt + continuation, written(prompt, continuation), rules)
        torch.testing.assert_close(got, want[len(prompt) - 1 :], **TOLERANCE)
    return batch


@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.parametrize("name", PLAIN)
def test_decoding_equals_the_mask(evicting: Any, name: str, rules: MementoRules) -> None:
    batch = assert_equal_to_mask(evicting, evicting.model(name), rules, seed=1)
    assert bool(batch.cache.compactions) == (rules != NEVER_EVICT)


@pytest.mark.parametrize("slots", [None, 1, 10**6])
@pytest.mark.parametrize("name", ["llama", "host-hybrid"])
def test_when_slots_are_closed_up_does_not_matter(evicting: Any, name: str, slots: int | None) -> None:
    batch = assert_equal_to_mask(evicting, evicting.model(name), RULES[0], seed=11, compact_slots=slots)
    assert bool(batch.cache.compactions) == (slots == 1)


@pytest.mark.parametrize("name", HYBRID)
def test_decoding_equals_the_mask_on_hybrids(evicting: Any, name: str) -> None:
    for rules in (RULES[0], RULES[3]):
        assert_equal_to_mask(evicting, evicting.model(name), rules, seed=2)


@pytest.mark.parametrize("name", ["qwen3", "olmo3"])
def test_decoding_equals_the_mask_with_eager_attention(evicting: Any, name: str) -> None:
    assert_equal_to_mask(evicting, evicting.model(name, "eager"), RULES[0], seed=3)


@torch.no_grad()
def test_flex_attention_equals_the_mask_and_decoding(evicting: Any) -> None:
    made, dense = evicting.model("qwen3", "flex_attention"), evicting.model("qwen3")
    draw = np.random.default_rng(4)
    ids = torch.tensor([[*evicting.text(draw, 4), *evicting.trace(draw, 3)][:24]])
    until = torch.from_numpy(visible_until(ids[0], MARKERS, RULES[0]))[None]
    with warnings.catch_warnings(), torch.compiler.set_stance("force_eager"):  # no C++ compiler is needed so
        warnings.simplefilter("ignore")
        flex = made(input_ids=ids, attention_mask=attention_masks(made.config, until)).logits
    want = dense(input_ids=ids, attention_mask=attention_masks(dense.config, until)).logits
    torch.testing.assert_close(flex, want, **TOLERANCE)
    batch, logits = RunningBatch.start(made, [Prompt(ids[0, :4].tolist())], rules=RULES[0], markers=MARKERS)
    got = replay(batch, logits, [ids[0, 4:].tolist()])[0]
    torch.testing.assert_close(got, want[0, 3:], **TOLERANCE)
    assert made.config._attn_implementation == "flex_attention"


@pytest.mark.parametrize("name", PLAIN)
def test_restart_by_prefilling_again_equals_restart_by_duplication(evicting: Any, name: str) -> None:
    for rules in (RESTART, BARE_RESTART):
        assert_equal_to_mask(evicting, evicting.model(name), rules, seed=5)


def test_restart_is_not_what_eviction_alone_does(evicting: Any) -> None:
    made = evicting.model("qwen3")
    prompts, continuations = evicting.rows(6)
    last = []
    for rules in (RULES[1], RESTART):
        batch, logits = RunningBatch.start(made, [Prompt(prompts[0])], rules=rules, markers=MARKERS)
        last.append(replay(batch, logits, continuations[:1])[0][-1])
    assert (last[0] - last[1]).abs().max() > 0.01


@pytest.mark.parametrize("rules", [RULES[0], RULES[2], RULES[5], RESTART, BARE_RESTART], ids=str)
@pytest.mark.parametrize("name", ["llama", "host"])
def test_prompts_with_mementos_are_read_under_the_mask(evicting: Any, name: str, rules: MementoRules) -> None:
    made, draw = evicting.model(name), np.random.default_rng(7)
    prompts, continuations = evicting.rows(8)
    told = [[*row, *evicting.trace(draw, 2)] for row in prompts]
    read = [Prompt(row, written(start, row[len(start) :])) for row, start in zip(told, prompts, strict=True)]
    batch, logits = RunningBatch.start(made, read, rules=rules, markers=MARKERS, compact_slots=3)
    held = [len(row) for row in told]
    assert all(now < before for now, before in zip(batch.cache.resident, held, strict=True))
    got = replay(batch, logits, continuations)
    for found, start, prompt, continuation in zip(got, prompts, told, continuations, strict=True):
        whole = prompt + continuation
        want = masked(made, whole, written(start, whole[len(start) :]), rules)
        torch.testing.assert_close(found, want[len(prompt) - 1 :], **TOLERANCE)


@pytest.mark.parametrize("name", ["qwen3", *HYBRID])
def test_rows_that_come_and_go_decode_as_alone(evicting: Any, name: str) -> None:
    made = evicting.model(name)
    prompts, continuations = evicting.rows(9)
    continuations = [row + [9] * 12 for row in continuations]
    alone = []
    for prompt, continuation in zip(prompts, continuations, strict=True):
        batch, logits = RunningBatch.start(made, [Prompt(prompt)], rules=RULES[0], markers=MARKERS)
        alone.append(replay(batch, logits, [continuation])[0])
    running, _ = RunningBatch.start(made, [Prompt(row) for row in prompts[:3]], rules=RULES[0], markers=MARKERS)
    for step in range(11):
        running.feed([row[step] for row in continuations[:3]])
    other, _ = RunningBatch.start(made, [Prompt(prompts[3])], rules=RULES[0], markers=MARKERS)
    running = running.selected([2, 0]).joined(other)
    at = [(2, 11), (0, 11), (3, 0)]
    for _ in range(12):
        logits = running.feed([continuations[row][step] for row, step in at])
        at = [(row, step + 1) for row, step in at]
        for got, (row, step) in zip(logits, at, strict=True):
            torch.testing.assert_close(got, alone[row][step], **TOLERANCE)


def test_a_selected_row_does_not_share_with_the_batch_it_was_cut_from(evicting: Any) -> None:
    made = evicting.model("qwen3")
    prompts, continuations = evicting.rows(10)
    first, _ = RunningBatch.start(made, [Prompt(row) for row in prompts], rules=RULES[0], markers=MARKERS)
    fork = first.selected([1])
    for step in range(8):
        want = first.feed([row[step] for row in continuations])[1]
    for step in range(8):
        got = fork.feed([continuations[1][step]])[0]
    torch.testing.assert_close(got, want, **TOLERANCE)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_stream_is_decoded_and_its_prompt_stays(evicting: Any, data: st.DataObject) -> None:
    made = evicting.model("qwen3")
    rules = data.draw(st.sampled_from([*RULES, RESTART, BARE_RESTART]))
    streams = st.lists(st.sampled_from([1, 2, 3, 4, 9]), min_size=1, max_size=18)
    prompts, continuations = data.draw(
        st.lists(st.tuples(streams, streams), min_size=1, max_size=3).map(lambda p: zip(*p, strict=True))
    )
    batch, logits = RunningBatch.start(
        made, [Prompt(row) for row in prompts], rules=rules, markers=MARKERS, compact_slots=data.draw(st.integers(1, 6))
    )
    replay(batch, logits, [list(row) for row in continuations])
    for index, (prompt, continuation) in enumerate(zip(prompts, continuations, strict=True)):
        row, roles = batch.rows[index], written(prompt, continuation)
        assert row.tracker.malformed >= 0
        assert row.tokens == [*prompt, *continuation]
        assert min(row.trace[len(prompt) - 1 :]) >= len(prompt)
        if not rules.restart:
            until = visible_until(row.tokens, MARKERS, rules, roles)
            assert row.trace[len(prompt) :] == resident_tokens(until)[len(prompt) :].tolist()
            assert (until[: len(prompt)] > len(row.tokens)).all()


def test_prompts_are_checked() -> None:
    with pytest.raises(UsageError, match="a prompt has no tokens"):
        Prompt([])
    with pytest.raises(UsageError, match="3 tokens and 1 roles"):
        Prompt([5, 6, 7], [0])


@pytest.mark.parametrize(("name", "kind"), [("olmo3", "sliding_attention"), ("qwen3-next", "linear_attention")])
def test_restart_is_refused_where_the_cache_cannot_be_rewound(evicting: Any, name: str, kind: str) -> None:
    with pytest.raises(UsageError, match=f"layers of {kind} cannot do"):
        RunningBatch.start(evicting.model(name), [Prompt([5])], rules=RESTART, markers=MARKERS)
