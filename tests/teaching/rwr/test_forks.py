"""Going on from copies of a memory is reading everything at once. Legend: B rows, T tokens, V vocabulary."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
    RwkvConfig,
    RwkvForCausalLM,
)

from mnemic.catalogue import SYSTEMS
from mnemic.errors import UsageError
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.teaching.rwr.continuation import continuation_of
from mnemic.teaching.rwr.forks import read

VOCABULARY = 40
MIXERS = [name for name, system in SYSTEMS.items() if system.target.startswith(("mnemic.state.", "mnemic.context."))]
FOREIGN = ["mamba2", "mamba2-bias", "mamba1", "llama", "mistral", "qwen3-next"]
RAGGED = [*MIXERS, "mamba2", "mamba1", "llama"]
CLOSE = {"rtol": 0, "atol": 1e-5}


@cache
def model(name: str) -> Any:
    torch.manual_seed(0)
    small = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "initializer_range": 0.2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48}
    mamba2 = {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 2, "chunk_size": 16, "expand": 2}
    linear = {
        "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
        "num_experts": 0, "mlp_only_layers": [0, 1], "layer_types": ["linear_attention", "full_attention"],
        "head_dim": 8,
    }  # fmt: skip
    if name == "mamba2" or name == "mamba2-bias":
        return Mamba2ForCausalLM(Mamba2Config(**small, **mamba2, use_bias=name.endswith("bias"))).eval()
    if name == "mamba1":
        mamba1 = MambaForCausalLM(MambaConfig(**small, state_size=8)).eval()
        for layer in mamba1.backbone.layers:  # steps long enough for a lost state to show
            torch.nn.init.constant_(layer.mixer.dt_proj.bias, -1.0)
        return mamba1
    if name == "llama":
        return LlamaForCausalLM(LlamaConfig(**small, **heads)).eval()
    if name == "mistral":
        return MistralForCausalLM(MistralConfig(**small, **heads, sliding_window=6)).eval()
    if name == "qwen3-next":
        return Qwen3NextForCausalLM(Qwen3NextConfig(**small, **heads, **linear)).eval()
    options = {"base-conv": {"kernel": "long", "length": 128}, "sliding-window": {"window": 6}}.get(name, {})
    layers = [{"mixer": name, **options}]
    config = MnemicConfig(VOCABULARY, 32, 2, layers=layers, init="normal", initializer_range=0.2)
    return MnemicForCausalLM(config).eval()


def ids(rows: int, time: int, seed: int = 1) -> Tensor:
    return torch.randint(0, VOCABULARY, (rows, time), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def at_once(name: str, tokens: Tensor) -> Tensor:
    return model(name)(input_ids=tokens, use_cache=False).logits


@pytest.mark.parametrize("name", [*MIXERS, *FOREIGN])
def test_forks_that_go_on_equal_reading_everything_at_once(name: str) -> None:
    context, questions = ids(2, 21), ids(6, 9, seed=2)
    whole = at_once(name, torch.cat([context.repeat_interleave(3, dim=0), questions], dim=1))
    before = read(model(name), context)
    torch.testing.assert_close(before.logits, whole[::3, 20], **CLOSE)
    fork = before.fork(3)
    torch.testing.assert_close(fork.go_on(questions[:, :5]), whole[:, 21:26], **CLOSE)
    torch.testing.assert_close(fork.go_on(questions[:, 5:]), whole[:, 26:], **CLOSE)
    # the forks left what they were made of as it was
    torch.testing.assert_close(before.fork([1]).go_on(questions[3:4]), whole[3:4, 21:], **CLOSE)
    assert (before.seen, before.rows) == (21, 2)


@pytest.mark.parametrize("name", RAGGED)
def test_questions_of_different_lengths_go_on_together(name: str) -> None:
    context, lengths = ids(1, 17), [3, 8, 1, 8, 5]
    questions = [ids(1, length, seed=length + index)[0].tolist() for index, length in enumerate(lengths)]
    fork = read(model(name), context).fork(len(lengths))
    logits, more = fork.go_on_ragged(questions), ids(len(lengths), 3, seed=9)
    after = fork.go_on(more)
    for row, question in enumerate(questions):
        alone = torch.cat([context, torch.tensor([question]), more[row : row + 1]], dim=1)
        whole = at_once(name, alone)[0]
        torch.testing.assert_close(logits[row], whole[-4], **CLOSE)
        torch.testing.assert_close(after[row], whole[-3:], **CLOSE)


@pytest.mark.parametrize("name", [*RAGGED, "mistral"])
def test_contexts_of_different_lengths_are_read_together(name: str) -> None:
    rows = [ids(1, length, seed=length)[0].tolist() for length in (2, 11, 19)]
    context, more = read(model(name), rows), ids(3, 7, seed=5)
    first = context.logits
    after = context.go_on(more)
    for row, tokens in enumerate(rows):
        whole = at_once(name, torch.cat([torch.tensor([tokens]), more[row : row + 1]], dim=1))[0]
        torch.testing.assert_close(first[row], whole[len(tokens) - 1], **CLOSE)
        torch.testing.assert_close(after[row], whole[len(tokens) :], **CLOSE)


@torch.no_grad()
def test_mamba_1_restarts_from_nothing_when_several_tokens_follow_its_cache_and_we_do_not() -> None:
    context, question = ids(1, 30), ids(1, 6, seed=2)
    whole = at_once("mamba1", torch.cat([context, question], dim=1))[:, 30:]
    cache = model("mamba1")(input_ids=context, use_cache=True).cache_params
    plain = model("mamba1")(input_ids=question, cache_params=cache, use_cache=True).logits
    assert (plain - whole).abs().max() > 1e-3, "transformers continues Mamba-1 rightly now: no need to step any more"
    torch.testing.assert_close(read(model("mamba1"), context).go_on(question), whole, **CLOSE)


def test_long_contexts_are_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = ids(2, 50)
    monkeypatch.setattr("mnemic.teaching.rwr.forks.PIECE", 8)
    for name in ("mamba2", "llama", "gated-deltanet"):
        torch.testing.assert_close(read(model(name), tokens).logits, at_once(name, tokens)[:, -1], **CLOSE)


def test_a_recurrent_memory_is_as_large_after_a_long_context_as_after_a_short_one() -> None:
    assert read(model("mamba2"), ids(1, 60)).bytes == read(model("mamba2"), ids(1, 6)).bytes
    host = read(model("gated-deltanet"), ids(1, 60))
    assert host.bytes == model("gated-deltanet").memory_bytes(60) == host.fork().bytes
    assert read(model("llama"), ids(1, 60)).bytes == 2 * read(model("llama"), ids(1, 30)).bytes


def test_a_step_limit_that_reading_and_writing_treat_apart_is_refused() -> None:
    config = Mamba2Config(hidden_size=32, num_heads=8, head_dim=8, num_hidden_layers=1, time_step_limit=(0.0, 0.1))
    with pytest.raises(UsageError, match="time_step_limit"):
        continuation_of(Mamba2ForCausalLM(config))


def test_what_cannot_be_forked_is_refused() -> None:
    rwkv = RwkvForCausalLM(RwkvConfig(vocab_size=8, hidden_size=8, num_hidden_layers=2, attention_hidden_size=8))
    with pytest.raises(UsageError, match="carries no memory"):
        read(rwkv.eval(), ids(1, 3))
    with pytest.raises(UsageError, match="training mode"):
        read(MnemicForCausalLM(MnemicConfig(VOCABULARY, 16, 1)).train(), ids(1, 3))
    with pytest.raises(UsageError, match="different lengths"):
        read(model("mamba2-bias"), [[1, 2], [1]])
    with pytest.raises(UsageError, match="different lengths"):
        read(model("mistral"), [[1, 2]]).fork(2).go_on_ragged([[1, 2], [1]])
    context = read(model("llama"), [[1, 2]])
    for wrong in (lambda: context.fork([1]), lambda: context.fork(0), lambda: context.go_on(ids(2, 1)),
                  lambda: context.go_on_ragged([[]]), lambda: read(model("llama"), [[]])):  # fmt: skip
        with pytest.raises(UsageError):
            wrong()
