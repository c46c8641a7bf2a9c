"""The engine says what generation alone says, whoever else is served and however little room there is."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from engines import QUESTIONS, Engines, Parts, ask, load_parts
from taught_checkpoint import ANSWER, THOUGHTS, written
from transformers import Qwen3Config, Qwen3ForCausalLM

from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.teaching.memento.decoding import Prompt, RunningBatch
from mnemic.teaching.memento.generation import memento_generate
from mnemic.teaching.memento.rereading import read_on
from mnemic.teaching.memento.rules import MementoRules, Role


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return load_parts(tmp_path_factory)


@pytest.fixture
def engine_of(parts: Parts) -> Iterator[Engines]:
    engines = Engines(parts)
    yield engines
    engines.close()


@pytest.mark.parametrize(
    "rules",
    [
        MementoRules(),
        MementoRules(mask_delimiters=True, max_block_tokens=4),
        MementoRules(keep_last_n_blocks=1),
        MementoRules(restart=True),
    ],
    ids=str,
)
def test_greedy_tokens_are_those_of_generate_alone_and_in_company(
    parts: Parts, engine_of: Engines, rules: MementoRules
) -> None:
    engine = engine_of(rules, max_batch=4)
    heard = [ask(engine, parts.prompt(question), max_tokens=150)[1] for question in QUESTIONS]
    for question, listener in zip(QUESTIONS, heard, strict=True):
        wanted = parts.alone(question, rules)
        got = listener.statistics()
        assert list(got.tokens) == wanted.sequences[0, wanted.prompts :].tolist(), question
        assert got.peak_resident_tokens == wanted.peak_tokens[0]
        assert list(got.kv_trace) == wanted.kv_trace[0]
        assert got.blocks == len(wanted.blocks[0])
        assert (got.malformed, got.forced_block_ends) == (wanted.malformed[0], wanted.forced_block_ends[0])
    assert engine.load().active_sequences == engine.load().resident_tokens == engine.load().allocated_bytes == 0


def test_it_was_taught_and_its_text_is_told_apart(parts: Parts, engine_of: Engines) -> None:
    engine = engine_of()
    _, split = ask(engine, parts.prompt("abc"))
    _, raw = ask(engine, parts.prompt("abc"), shown="raw")
    got = split.statistics()
    assert (split.text[0]["reasoning"], split.text[0]["content"].strip()) == (THOUGHTS, ANSWER)
    assert raw.statistics() == got
    assert raw.text[0] == {"reasoning": "", "content": written().removesuffix("<|im_end|>")}
    assert split.ends[0].reason == "stop"
    assert got.peak_resident_tokens < got.full_attention_tokens
    falls = [here - there for here, there in pairwise(got.kv_trace) if there < here]
    assert len(falls) == got.blocks == 8


@pytest.mark.parametrize(("rules", "budget"), [(MementoRules(), 150), (MementoRules(restart=True), 220)], ids=str)
def test_a_small_budget_delays_and_changes_nothing(
    parts: Parts, engine_of: Engines, rules: MementoRules, budget: int
) -> None:
    """Requests give up their caches and are read again; the budget holds, and everyone ends."""
    engine = engine_of(rules, kv_budget=budget)
    heard = [ask(engine, parts.prompt(question), max_tokens=150)[1] for question in QUESTIONS]
    for question, listener in zip(QUESTIONS, heard, strict=True):
        wanted = parts.alone(question, rules)
        assert list(listener.statistics().tokens) == wanted.sequences[0, wanted.prompts :].tolist(), question
        assert listener.statistics().peak_resident_tokens == wanted.peak_tokens[0]
    assert engine.load().peak_resident_tokens <= budget
    restarts = sum(listener.statistics().restarts for listener in heard)
    assert restarts == engine.load().restarts > 0


@pytest.mark.parametrize("rules", [MementoRules(), MementoRules(keep_last_n_blocks=1), MementoRules(restart=True)])
@pytest.mark.parametrize("count", [1, 9, 12, 30, 77])
def test_tokens_read_again_leave_the_cache_that_feeding_them_left(
    parts: Parts, rules: MementoRules, count: int
) -> None:
    prompt = parts.prompt("abc")
    tokens = parts.tokenizer.encode(written())[:count]
    batch, _ = RunningBatch.start(parts.model, [prompt], rules=rules, markers=parts.markers)
    wanted = [batch.feed([token]) for token in tokens][-1]
    again, _ = RunningBatch.start(parts.model, [prompt], rules=rules, markers=parts.markers)
    got = read_on(again, tokens)
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
    assert again.cache.resident.tolist() == batch.cache.resident.tolist()
    assert again.rows[0].tokens == batch.rows[0].tokens


def host(*mixers: dict[str, Any], vocabulary: int) -> Any:
    return MnemicForCausalLM(MnemicConfig(vocab_size=vocabulary, hidden_size=32, layers=list(mixers)))


def windowed(vocabulary: int) -> Any:
    config = Qwen3Config(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, layer_types=["full_attention", "sliding_attention"], sliding_window=8,
        use_sliding_window=True, eos_token_id=None, bos_token_id=None,
    )  # fmt: skip
    return Qwen3ForCausalLM(config)


@pytest.mark.parametrize(
    "make",
    [
        partial(host, {"mixer": "attention"}, {"mixer": "mamba2"}),
        partial(host, {"mixer": "attention"}, {"mixer": "sliding-window", "window": 8}),
        windowed,
    ],
    ids=["mamba2", "window", "transformers' window"],
)
def test_models_with_other_layers_too_say_in_company_what_they_say_alone(
    parts: Parts, make: Callable[..., Any]
) -> None:
    """Requests of many lengths join and leave, some of them twice, after prompts that hold finished blocks."""
    torch.manual_seed(1)
    model = make(vocabulary=len(parts.tokenizer)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2 if weight.ndim > 1 else 1)  # so that what stands before a token decides about it
    other = Parts(model, parts.tokenizer, parts.markers)
    engines = Engines(other)
    engine = engines(MementoRules(max_block_tokens=5), max_batch=3, kv_budget=330)
    asked = []
    for number, question in enumerate(QUESTIONS):
        before, after = parts.prompt(question).ids, parts.tokenizer.encode(written())[: 30 + 9 * number]
        roles = [int(Role.PROTECTED)] * len(before) + [int(Role.ASSISTANT)] * len(after)
        asked.append((Prompt([*before, *after], roles), 20 + 25 * (number % 3)))
    heard = [ask(engine, prompt, max_tokens=most, well_formed=True)[1] for prompt, most in asked]
    for (prompt, most), listener in zip(asked, heard, strict=True):
        wanted = memento_generate(
            model,
            torch.tensor([prompt.ids]),
            roles=torch.tensor([prompt.roles]),
            rules=MementoRules(max_block_tokens=5),
            markers=parts.markers,
            max_new_tokens=most,
            do_sample=False,
            well_formed=True,
            eos_token_id=parts.tokenizer.eos_token_id,
        )
        got = listener.statistics()
        assert list(got.tokens) == wanted.sequences[0, wanted.prompts :].tolist()
        assert got.blocks == len(wanted.blocks[0]) > 0
    engines.close()


def test_sampling_is_each_requests_own(parts: Parts, engine_of: Engines) -> None:
    """The same seed says the same alone, in company, and as one of n; another seed says something else."""
    engine, prompt = engine_of(), parts.prompt("abc")
    options = {"temperature": 3.0, "top_p": 0.95, "max_tokens": 40}
    _, alone = ask(engine, prompt, seed=7, **options)
    wanted = alone.statistics().tokens
    heard = [ask(engine, parts.prompt(question), temperature=1.0, max_tokens=40)[1] for question in QUESTIONS[:3]]
    _, company = ask(engine, prompt, seed=7, **options)
    _, three = ask(engine, prompt, seed=6, n=3, **options)
    _, other = ask(engine, prompt, seed=11, **options)
    assert company.statistics().tokens == wanted
    assert three.statistics(1).tokens == wanted
    assert len({three.statistics(index).tokens for index in range(3)}) == 3
    assert other.statistics().tokens != wanted
    assert all(listener.statistics().tokens for listener in heard)


def test_top_p_and_top_k_keep_the_likely_ones(parts: Parts, engine_of: Engines) -> None:
    engine, prompt = engine_of(), parts.prompt("abc")
    greedy = ask(engine, prompt, max_tokens=30)[1].statistics().tokens
    for options in ({"top_k": 1}, {"top_p": 1e-6}):
        assert ask(engine, prompt, max_tokens=30, temperature=5.0, **options)[1].statistics().tokens == greedy


def test_stop_strings_end_a_text_before_them(parts: Parts, engine_of: Engines) -> None:
    engine = engine_of()
    _, answer = ask(engine, parts.prompt("abc"), stop=("€u",))
    _, thought = ask(engine, parts.prompt("abc"), stop=("2abc", "nothing"))
    _, never = ask(engine, parts.prompt("abc"), stop=("ro 🙂.!",))
    for heard in (answer, thought, never):
        heard.statistics()
        assert heard.ends[0].reason == "stop"
    assert answer.text[0]["content"].strip() == ANSWER.partition("€u")[0].strip()
    assert thought.text[0] == {"reasoning": THOUGHTS.partition("2abc")[0], "content": ""}
    assert never.text[0]["content"].strip() == ANSWER


def test_without_markers_nothing_is_evicted(parts: Parts, engine_of: Engines) -> None:
    engine = engine_of(markers=None)
    got = ask(engine, parts.prompt("abc"), max_tokens=60)[1].statistics()
    wanted = parts.alone("abc", MementoRules(keep_last_n_blocks=-1), tokens=60)
    assert list(got.tokens) == wanted.sequences[0, wanted.prompts :].tolist()
    assert got.peak_resident_tokens == got.full_attention_tokens
    assert got.blocks == 0


def test_markers_can_be_kept_in_order(parts: Parts, engine_of: Engines) -> None:
    engine = engine_of()
    free = ask(engine, parts.prompt("abc"), temperature=9.0, seed=1, max_tokens=120)[1].statistics()
    kept = ask(engine, parts.prompt("abc"), temperature=9.0, seed=1, max_tokens=120, well_formed=True)[1].statistics()
    assert free.malformed > 0
    assert kept.malformed == 0
