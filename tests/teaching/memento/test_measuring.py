"""Bytes, peaks and areas against closed forms, worked examples and what the cache really held."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen3Config

from mnemic.errors import UsageError
from mnemic.teaching.memento.blocks import resident_tokens, visible_until
from mnemic.teaching.memento.decoding import Prompt, RunningBatch
from mnemic.teaching.memento.measuring import Shape, area, area_gb_ktok, kv_bytes_per_token, peak, throughput
from mnemic.teaching.memento.rules import MarkerIds, MementoRules, Role

MARKERS = MarkerIds(1, 2, 3, 4)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.builds(
        Shape, prompt=st.integers(1, 9), blocks=st.integers(1, 5), block=st.integers(0, 12), memento=st.integers(0, 6),
        answer=st.integers(0, 15),
    ),
    delimiters=st.booleans(),
)  # fmt: skip
def test_the_closed_form_is_the_peak_of_the_trace(shape: Shape, delimiters: bool) -> None:
    prompts, continuations = shape.traces(MARKERS, 40, 1, seed=0)
    ids = prompts[0] + continuations[0]
    roles = [Role.PROTECTED] * shape.prompt + [Role.ASSISTANT] * len(continuations[0])
    for rules, want in (
        (MementoRules(mask_delimiters=delimiters), shape.evicting_peak(delimiters)),
        (MementoRules(keep_last_n_blocks=-1), shape.full_peak()),
    ):
        assert peak(resident_tokens(visible_until(ids, MARKERS, rules, roles)).tolist()) == want


def test_the_closed_form_is_what_the_cache_held(evicting: Any) -> None:
    shape = Shape(prompt=5, blocks=4, block=9, memento=2, answer=3)
    prompts, continuations = shape.traces(MARKERS, 40, 2, seed=1)
    batch, _ = RunningBatch.start(
        evicting.model("llama"), [Prompt(row) for row in prompts], rules=MementoRules(), markers=MARKERS
    )
    for tokens in zip(*continuations, strict=True):
        batch.feed(tokens)
        assert [row.trace[-1] for row in batch.rows] == batch.cache.resident.tolist()
    assert {peak(row.trace) for row in batch.rows} == {shape.evicting_peak()}


def test_bytes_of_published_models() -> None:
    qwen3_8b = Qwen3Config(num_hidden_layers=36, num_attention_heads=32, num_key_value_heads=8, head_dim=128)
    assert kv_bytes_per_token(qwen3_8b, torch.bfloat16).per_token == 144 * 1024
    qwen3_32b = Qwen3Config(num_hidden_layers=64, num_attention_heads=64, num_key_value_heads=8, head_dim=128)
    assert kv_bytes_per_token(qwen3_32b, torch.bfloat16).per_token == 256 * 1024


@pytest.mark.parametrize("name", ["qwen3", "llama", "olmo3", "qwen3-next", "host", "host-hybrid"])
def test_bytes_are_those_of_the_cache(evicting: Any, name: str) -> None:
    made = evicting.model(name)
    batch, _ = RunningBatch.start(made, [Prompt([5, 6, 7])], rules=MementoRules(), markers=MARKERS, capacity=64)
    found = kv_bytes_per_token(made.config, torch.float32)
    assert batch.cache.allocated_bytes == 64 * found.per_token
    assert found.full_layers == len(batch.cache.rooms)
    assert found.full_layers + sum(found.fixed.values()) == len(batch.cache.layers)


def test_area_counts_token_steps() -> None:
    assert area([1, 2, 3, 2]) == 8
    assert area_gb_ktok([500] * 2000, 10**6) == pytest.approx(0.5 * 2)  # half a gigabyte over two thousand tokens


def test_throughput_feeds_every_arm_the_same_trace(evicting: Any) -> None:
    shape = Shape(prompt=4, blocks=3, block=6, memento=2)
    prompts, continuations = shape.traces(MARKERS, 40, 2, seed=2)
    told: list[str] = []
    arms = throughput(
        evicting.model("qwen3"), prompts, continuations, rules=MementoRules(), markers=MARKERS, repeats=2,
        on_run=lambda name, repeat, rate: told.append(name),
    )  # fmt: skip
    assert told == list(arms) * 2
    full = shape.full_peak()
    assert [arm.peak_tokens for arm in arms.values()] == [shape.evicting_peak(), full, full]
    assert all(len(arm.runs) == 2 and min(arm.runs) > 0 for arm in arms.values())
    with pytest.raises(UsageError, match="one length"):
        throughput(evicting.model("qwen3"), [[5], [5, 6]], continuations, rules=MementoRules(), markers=MARKERS)
