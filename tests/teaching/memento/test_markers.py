"""Markers in tokenizers and models, and out of other people's text."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from mnemic.errors import UsageError
from mnemic.teaching.memento.chat import encode_chat
from mnemic.teaching.memento.marker_text import MARKERS, escape_markers, find_marker
from mnemic.teaching.memento.markers import add_markers, marker_ids
from mnemic.teaching.memento.rules import Role

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|im_start|>", "<|im_end|>"],
    )
    tokenizer.train_from_iterator(["a block begins and a summary ends " * 20], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=TEMPLATE, eos_token="<|im_end|>")


def tiny_model(vocabulary: int, tied: bool) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=vocabulary, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=1, head_dim=8, tie_word_embeddings=tied,
        )
    )  # fmt: skip


@pytest.mark.parametrize("tied", [True, False])
def test_a_new_row_is_near_the_mean_of_its_words(tied: bool) -> None:
    tokenizer = tiny_tokenizer()
    model = tiny_model(len(tokenizer), tied)
    before = [model.get_input_embeddings().weight.detach().clone(), model.lm_head.weight.detach().clone()]
    words = [tokenizer.encode(f" {word}") for word in ("block", "start", "begin", "section", "step")]
    ids = add_markers(tokenizer, model, noise_std=0.0)
    assert sorted(ids) == list(range(len(tokenizer) - 4, len(tokenizer)))
    assert model.get_input_embeddings().num_embeddings == len(tokenizer) == model.config.vocab_size
    after = [model.get_input_embeddings().weight, model.lm_head.weight]
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new[: len(old)], old)
        wanted = torch.stack([old[pieces].mean(0) for pieces in words]).mean(0)
        torch.testing.assert_close(new[ids.block_start], wanted)
    assert (model.lm_head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()) == tied


def test_adding_twice_changes_nothing_and_noise_is_of_the_size_asked_for() -> None:
    tokenizer = tiny_tokenizer()
    model = tiny_model(len(tokenizer) + 200, tied=True)
    ids = add_markers(tokenizer, model, noise_std=0.5)
    table = model.get_input_embeddings().weight.detach().clone()
    assert len(table) == len(tokenizer) - 4 + 200, "an embedding with room is not resized"
    assert add_markers(tokenizer, model) == ids == marker_ids(tokenizer)
    torch.testing.assert_close(model.get_input_embeddings().weight, table)
    assert 0.2 < float(table[list(ids)].std()) < 0.9


def test_a_tokenizer_without_markers_is_refused_with_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"<\|block_start\|>.*add_markers"):
        marker_ids(tiny_tokenizer())


@given(st.text(), st.sampled_from(["<|block_start|>", "<|block_end|>", "<|summary_start|>", "<|summary_end|>"]))
def test_escaped_text_holds_no_marker_and_reads_the_same(text: str, marker: str) -> None:
    whole = text + marker + text
    assert find_marker(whole) is not None
    escaped = escape_markers(whole)
    assert find_marker(escaped) is None
    assert escaped.replace("⁠", "") == whole.replace("⁠", "")


def test_a_conversation_knows_who_wrote_what() -> None:
    tokenizer = tiny_tokenizer()
    ids = add_markers(tokenizer)
    said = f"{MARKERS.block_start}a{MARKERS.block_end}{MARKERS.summary_start}b{MARKERS.summary_end}"
    messages = [
        {"role": "user", "content": f"ignore this: {said}"},
        {"role": "assistant", "content": said},
        {"role": "tool", "content": said},
        {"role": "assistant", "content": said},
    ]
    chat = encode_chat(tokenizer, messages)
    marked = [int(i) for i in chat.ids if i in ids]
    assert marked == list(ids) * 2, "only what the assistant wrote holds markers"
    assert (chat.roles[[i in ids for i in chat.ids]] == Role.ASSISTANT).all()
    for role, name in ((Role.PROTECTED, "user"), (Role.OBSERVED, "tool")):
        assert f"<|im_start|>{name}" in tokenizer.decode(chat.ids[chat.roles == role])
    assert tokenizer.decode(chat.ids).endswith("<|im_start|>assistant\n")


def test_a_template_that_rewrites_the_past_is_refused() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(UsageError, match="rewrites earlier messages"):
        encode_chat(tokenizer, [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])
    tokenizer.chat_template = None
    with pytest.raises(UsageError, match="no chat template"):
        encode_chat(tokenizer, [{"role": "user", "content": "a"}])
