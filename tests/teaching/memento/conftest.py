"""Small random models of every shape that evicts, and random streams with blocks, for the tests of decoding."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    Olmo3Config,
    Olmo3ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
)

from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.teaching.memento.rules import MarkerIds

VOCABULARY = 40
MARKERS = MarkerIds(1, 2, 3, 4)
_WIDTH = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "bos_token_id": None, "eos_token_id": None,
    "pad_token_id": None, "initializer_range": 0.15,
}  # fmt: skip
_HOSTS: dict[str, list[dict[str, Any]]] = {
    "host": [{"mixer": "attention", "heads": 4, "kv_heads": 2, "qk_norm": True}] * 2,
    "recurrent": [{"mixer": "mamba2", "head_width": 8, "state": 8}],
    "host-hybrid": [
        {"mixer": "mamba2", "head_width": 8, "state": 8},
        {"mixer": "attention", "heads": 4, "conv_size": 3},
        {"mixer": "sliding-window", "heads": 4, "window": 7},
    ],
}


def model(name: str, kernel: str = "sdpa") -> Any:
    """A model with weights large enough for a wrong key to show."""
    torch.manual_seed(0)
    if name in _HOSTS:
        layers = _HOSTS[name]
        config = MnemicConfig(
            vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=len(layers), layers=layers, init="normal",
            initializer_range=0.2,
        )  # fmt: skip
        return MnemicForCausalLM(config).eval()
    window = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
    linear = {
        "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
        "num_experts": 0, "mlp_only_layers": [0, 1], "layer_types": ["linear_attention", "full_attention"],
        "head_dim": 8,
    }  # fmt: skip
    made: dict[str, tuple[Any, Any]] = {
        "bloom": (BloomForCausalLM, BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=1, n_head=4)),
        "llama": (LlamaForCausalLM, LlamaConfig(num_hidden_layers=2, **_WIDTH)),
        "qwen3": (Qwen3ForCausalLM, Qwen3Config(num_hidden_layers=2, head_dim=8, **_WIDTH)),
        "olmo2": (Olmo2ForCausalLM, Olmo2Config(num_hidden_layers=2, **_WIDTH)),
        "olmo3": (Olmo3ForCausalLM, Olmo3Config(num_hidden_layers=2, **window, **_WIDTH)),
        "qwen3-next": (Qwen3NextForCausalLM, Qwen3NextConfig(num_hidden_layers=2, **linear, **_WIDTH)),
    }
    kind, config = made[name]
    return kind._from_config(config, attn_implementation=kernel).eval()


def trace(draw: np.random.Generator, blocks: int) -> list[int]:
    """What a model might write: blocks with mementos, some text between them, an unfinished block at the end."""
    tokens: list[int] = []
    for _ in range(blocks):
        block, memento, between = draw.integers(1, 8), draw.integers(0, 4), draw.integers(0, 3)
        tokens += [1, *text(draw, block), 2, 3, *text(draw, memento), 4, *text(draw, between)]
    return [*tokens, 1, *text(draw, 3)]


def text(draw: np.random.Generator, count: int) -> list[int]:
    return [int(token) for token in draw.integers(5, VOCABULARY, count)]


def rows(seed: int, lengths: Sequence[int] = (5, 3, 8, 1)) -> tuple[list[list[int]], list[list[int]]]:
    """Ragged prompts, and a continuation with another number of blocks for each."""
    draw = np.random.default_rng(seed)
    return [text(draw, length) for length in lengths], [trace(draw, 2 + index) for index in range(len(lengths))]


@pytest.fixture(scope="session")
def evicting() -> SimpleNamespace:
    """What this file defines, for tests."""
    return SimpleNamespace(model=model, trace=trace, text=text, rows=rows, markers=MARKERS, vocabulary=VOCABULARY)
