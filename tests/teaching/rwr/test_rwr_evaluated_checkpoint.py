"""A checkpoint in the place of a server: the same questions, the same layout, in every mode."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Mamba2Config, Mamba2ForCausalLM

from mnemic.errors import UsageError
from mnemic.teaching.rwr.answering import answer_questions
from mnemic.teaching.rwr.completion import Decoding
from mnemic.teaching.rwr.decimation import Decimation, decimated
from mnemic.teaching.rwr.evaluated_checkpoint import CheckpointAnswerer
from mnemic.teaching.rwr.evaluation.evaluate import evaluate
from mnemic.teaching.rwr.evaluation.miniatures import miniatures
from mnemic.teaching.rwr.evaluation.summary import length_bucket


@pytest.fixture
def small(make_tokenizer):
    tokenizer = make_tokenizer(markers=False)
    torch.manual_seed(0)
    config = Mamba2Config(
        vocab_size=len(tokenizer), hidden_size=32, state_size=8, num_hidden_layers=2, num_heads=4, head_dim=16,
        n_groups=1, expand=2, chunk_size=8,
    )  # fmt: skip
    return Mamba2ForCausalLM(config).eval(), tokenizer


@pytest.mark.parametrize("mode", ["note", "direct", "segments"])
def test_every_question_gets_an_answer_and_its_cost(tmp_path, small, mode):
    items = list(miniatures(4, length=60))
    answerer = CheckpointAnswerer(*small, name="small", mode=mode, segment_tokens=40, max_new_tokens=4)
    found = evaluate(items, answerer, tmp_path, workers=2)
    assert [row["id"] for row in found.rows] == [item.id for item in items]
    assert all(row["prompt_tokens"] > 0 and row["seconds"] > 0 for row in found.rows)
    for row in found.rows:
        assert row["prompt_tokens"] == row["speed"]["prefill_tokens"]
        assert 0 < row["speed"]["prefill_seconds"] + row["speed"]["decode_seconds"] <= row["seconds"]
        # the state is all that this model holds, in each segment as after a whole context
        assert row["state_bytes"] == row["speed"]["held_bytes"] == 2 * 4 * (4 * 16 * 8 + (64 + 2 * 8) * 4)
    assert found.summary.cost["speed"]["prefill_tokens"] == sum(row["prompt_tokens"] for row in found.rows)
    assert {group["n"] for name, group in found.summary.groups.items() if name == "all"} == {4}


def test_answers_are_those_of_answer_questions(small):
    item = next(miniatures(1, length=60))
    answered = CheckpointAnswerer(*small, name="small", mode="direct", max_new_tokens=6)(item)
    alone = answer_questions(
        *small, item.context_text, [item.query_text], mode="answer", decoding=Decoding(max_new_tokens=6)
    )
    assert answered.answer == (alone.answered[0].reply.answer or "")


def test_a_model_without_a_state_says_what_it_holds_and_lengths_are_in_its_own_tokens(tmp_path, make_tokenizer):
    tokenizer = make_tokenizer(markers=False)
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=2,
                         num_attention_heads=2, max_position_embeddings=2048)  # fmt: skip
    answerer = CheckpointAnswerer(LlamaForCausalLM(config).eval(), tokenizer, name="small", max_new_tokens=1)
    (item,) = miniatures(1, length=60)
    found = evaluate([item], answerer, tmp_path, counter=answerer.counter, training_length=50)
    (row,) = found.rows
    assert row["state_bytes"] is None
    assert row["speed"]["held_bytes"] == 2 * 2 * 4 * 32 * row["prompt_tokens"]
    assert row["length"] == len(tokenizer.encode(item.context_text, add_special_tokens=False)) != item.length()
    assert f"length {length_bucket(row['length'], 50)}" in found.summary.groups


def test_a_decimated_checkpoint_is_another_one(small):
    """It answers as `answer_questions` does inside `decimated`, says so in its settings, and the model is as it was."""
    for layer in small[0].backbone.layers:  # so that states fade slowly and weigh, and all tokens count
        torch.nn.init.constant_(layer.mixer.A_log, -5.0)
        torch.nn.init.normal_(layer.mixer.in_proj.weight)
    item, options = next(miniatures(1, length=60)), Decimation(keep=20, layer=0)
    answerer = CheckpointAnswerer(*small, name="small", mode="direct", max_new_tokens=6, decimation=options)
    asked = (*small, item.context_text, [item.query_text])
    decoding = Decoding(max_new_tokens=6)
    with decimated(small[0], options):
        inside = answer_questions(*asked, mode="answer", decoding=decoding).answered[0]
    assert answerer(item).answer == (inside.reply.answer or "")
    assert answerer.settings["decimation"]["keep"] == 20
    assert "decimation" not in CheckpointAnswerer(*small, name="small").settings
    outside = answer_questions(*asked, mode="answer", decoding=decoding).answered[0]
    assert outside.text != inside.text
    with pytest.raises(UsageError, match="layer is 9"):
        CheckpointAnswerer(*small, name="small", decimation=Decimation(layer=9))


def test_an_unknown_mode_is_refused(small):
    with pytest.raises(UsageError, match="mode"):
        CheckpointAnswerer(*small, name="small", mode="guess")
