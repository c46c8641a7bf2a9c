"""A tokenizer of words, models of two tiny layers, and traces to teach them with: all made here, nothing is fetched."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from mnemic.teaching.memento.markers import add_markers
from mnemic.teaching.records import Message, Segment, TraceRecord

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }} {{ message['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)
WORDS = [f"w{number}" for number in range(40)] + ["system", "user", "assistant", "tool", "block", "summary", "end"]
FAMILIES = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen3": (Qwen3Config, Qwen3ForCausalLM)}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_tokenizer():
    """`make_tokenizer(markers=True)`: words w0 … w39, ChatML without a system prompt."""

    def make(*, markers: bool = True, template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
        special = ["<pad>", "<|im_start|>", "<|im_end|>", "<unk>"]
        vocab = {word: number for number, word in enumerate([*special, "<think>", "</think>", *WORDS])}
        inner = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
        inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        inner.add_special_tokens(special)
        inner.add_tokens(["<think>", "</think>"])
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=inner, pad_token="<pad>", eos_token="<|im_end|>", unk_token="<unk>"
        )
        tokenizer.chat_template = template
        if markers:
            add_markers(tokenizer)
        return tokenizer

    return make


@pytest.fixture
def tokenizer(make_tokenizer):
    return make_tokenizer()


@pytest.fixture
def make_model():
    """`make_model(family, vocab)`: a random model of that shape."""

    def make(family: str = "qwen3", vocab: int = 64, seed: int = 0, implementation: str = "sdpa", **options):
        torch.manual_seed(seed)
        config_class, model_class = FAMILIES[family]
        config = config_class(
            vocab_size=vocab, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, head_dim=16, max_position_embeddings=512, tie_word_embeddings=False,
            initializer_range=0.2, pad_token_id=0, eos_token_id=2, bos_token_id=None, **options,
        )  # fmt: skip
        config._attn_implementation = implementation
        return model_class(config).eval()

    return make


@pytest.fixture
def make_trace():
    """`make_trace(name, blocks=[(words, memento words)…])`: words are counted on from the name's number."""

    def make(number: int = 0, blocks: tuple[tuple[int, int], ...] = ((5, 2), (4, 2)), prompt: int = 3) -> TraceRecord:
        def words(count: int, offset: int) -> str:
            return " " + " ".join(f"w{(number * 7 + offset * 3 + i) % 40}" for i in range(count)) + " "

        segments = []
        for index, (size, memento) in enumerate(blocks):
            segments.append(Segment(kind="block", text=words(size, index), block=index))
            if memento:
                segments.append(Segment(kind="memento", text=words(memento, index + 5), block=index))
        return TraceRecord(
            id=f"trace-{number}",
            prompt=(Message(role="user", content=words(prompt, 11)),),
            segments=tuple(segments),
            answer=words(2, 13),
        )

    return make
