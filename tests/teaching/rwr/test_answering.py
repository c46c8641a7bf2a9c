"""Many questions on one context, written in batches, are answered as each would be alone."""

from typing import Any

import pytest
import torch
from byte_text import VOCABULARY, byte_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, Mamba2Config, Mamba2ForCausalLM, MambaConfig, MambaForCausalLM

from mnemic.errors import UsageError
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.teaching.rwr.answering import answer_questions, prompt_ids
from mnemic.teaching.rwr.completion import Decoding, Speed, complete, complete_after_common_start
from mnemic.teaching.rwr.layout import prompt_text
from mnemic.teaching.rwr.state_size import state_bytes

TOKENIZER = byte_tokenizer()
QUESTIONS = ["Who?", "What is her name, and where does she live?", "When was that?", "Who?"]
SMALL = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2, "initializer_range": 0.3}


def host(*layers: dict[str, Any], **options: Any) -> Any:
    torch.manual_seed(3)
    config = MnemicConfig(VOCABULARY, 16, 2, layers=layers, init="normal", initializer_range=0.3, **options)
    return MnemicForCausalLM(config).eval()


def model(kind: str) -> Any:
    torch.manual_seed(3)
    if kind == "mamba2":
        return Mamba2ForCausalLM(Mamba2Config(**SMALL, num_heads=4, head_dim=8, state_size=8, n_groups=1)).eval()
    if kind == "mamba1":
        return MambaForCausalLM(MambaConfig(**SMALL, state_size=4)).eval()
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(**SMALL, num_attention_heads=2, intermediate_size=16)).eval()
    return host({"mixer": "gated-deltanet", "heads": 2, "head_width": 8}, {"mixer": "attention", "heads": 2})


@pytest.mark.parametrize("kind", ["mamba2", "mamba1", "llama", "host"])
def test_questions_share_one_reading_and_answer_as_alone(kind: str) -> None:
    made, decoding = model(kind), Decoding(max_new_tokens=6)
    together = answer_questions(made, TOKENIZER, "Anna lives in Oslo.", QUESTIONS, decoding=decoding, batch_size=3)
    alone = [answer_questions(made, TOKENIZER, "Anna lives in Oslo.", [q], decoding=decoding) for q in QUESTIONS]
    assert [one.text for one in together.answered] == [one.answered[0].text for one in alone]
    assert [one.question for one in together.answered] == QUESTIONS
    assert together.speed.prefill_tokens < sum(one.speed.prefill_tokens for one in alone)
    assert together.speed.decode_tokens == sum(one.tokens for one in together.answered) > 0
    assert together.speed.prefill_per_second > 0


def test_a_question_before_the_context_is_read_with_it() -> None:
    made, decoding = model("mamba2"), Decoding(max_new_tokens=3)
    first = answer_questions(
        made, TOKENIZER, "Anna.", QUESTIONS, query_position="before", mode="answer", decoding=decoding
    )
    prompts = [
        prompt_ids(TOKENIZER, prompt_text("Anna.", question, mode="answer", query_position="before"))
        for question in QUESTIONS
    ]
    assert [one.text for one in first.answered] == [
        TOKENIZER.decode(tokens, skip_special_tokens=True) for tokens in complete(made, prompts, decoding, [256])
    ]


def test_a_row_ends_at_its_end_and_the_others_go_on() -> None:
    made = model("mamba2")
    prompts = [[index + 1, 2, 3] for index in range(6)]
    free = complete(made, prompts, Decoding(max_new_tokens=12), [])
    assert all(len(row) == 12 for row in free)
    ends = {free[0][3], free[1][7]}
    cut = [row[: next((i for i, token in enumerate(row) if token in ends), 12)] for row in free]
    assert len({len(row) for row in cut}) > 1
    assert complete(made, prompts, Decoding(max_new_tokens=12), ends) == cut


def test_sampling_repeats_by_its_seed_and_follows_the_temperature() -> None:
    made, prompts = model("host"), [[1, 2, 3]] * 40
    warm = [complete(made, prompts, Decoding(max_new_tokens=4, temperature=1.0, seed=seed), []) for seed in (1, 1, 2)]
    assert warm[0] == warm[1] != warm[2]
    assert len({tuple(row) for row in warm[0]}) > 20
    cold = complete(made, prompts, Decoding(max_new_tokens=4, temperature=1e-4), [])
    assert cold == complete(made, prompts, Decoding(max_new_tokens=4), [])


def test_prompts_that_are_the_same_share_all_but_their_last_token() -> None:
    speed = Speed()
    complete_after_common_start(model("llama"), [[1, 2, 3, 4]] * 3, Decoding(max_new_tokens=1), [], speed=speed)
    assert speed.prefill_tokens == 3 + 3


def test_state_bytes_are_those_really_held() -> None:
    mamba2 = model("mamba2")
    assert state_bytes(mamba2) == 2 * 4 * (4 * 8 * 8 + (32 + 2 * 8) * 4)
    assert state_bytes(model("mamba1")) == 2 * 4 * (32 * 4 + 32 * 4)
    recurrent = host({"mixer": "mamba2", "head_width": 8, "state": 8})
    assert state_bytes(recurrent) == recurrent.memory_bytes(1000)
    half = host({"mixer": "mamba2", "head_width": 8, "state": 8}, {"mixer": "attention", "heads": 2})
    assert 2 * state_bytes(half) == state_bytes(recurrent)


@pytest.mark.parametrize("kind", ["llama", "attention", "sliding-window"])
def test_a_model_without_a_recurrent_state_has_no_state_bytes(kind: str) -> None:
    made = model("llama") if kind == "llama" else host({"mixer": kind, "heads": 2})
    with pytest.raises(UsageError, match="no recurrent state"):
        state_bytes(made)


def test_wrong_questions_are_refused() -> None:
    short = host({"mixer": "attention", "heads": 2}, max_position_embeddings=200)
    with pytest.raises(UsageError, match="200 positions"):
        answer_questions(short, TOKENIZER, "a" * 300, ["b"])
    with pytest.raises(UsageError, match="questions is empty"):
        answer_questions(short, TOKENIZER, "a", [])
    with pytest.raises(UsageError, match="prompt 1 has no tokens"):
        complete(short, [[1], []], Decoding(), [])
