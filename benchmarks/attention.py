"""Attention layer: ours beside Llama's with PyTorch's fused kernel, and the sliding window beside the full one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import DynamicCache, LlamaConfig
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRotaryEmbedding

from harness import WIDTH, Arm, decoding, main, training
from mnemic.context.attention import Attention, AttentionConfig
from mnemic.context.sliding_window import SlidingWindow, SlidingWindowConfig
from mnemic.modules.memory import Step
from mnemic.modules.mixer import Mixer

HEADS, KV_HEADS = 4, 2


def arm(layer: Mixer) -> Arm:
    return Arm(partial(training, lambda x: layer(x, Step())), decoding(layer), ours=True)


def ours() -> Arm:
    return arm(Attention(AttentionConfig(width=WIDTH, heads=HEADS, kv_heads=KV_HEADS), 0))


def ours_windowed() -> Arm:
    return arm(SlidingWindow(SlidingWindowConfig(width=WIDTH, heads=HEADS, kv_heads=KV_HEADS, window=128), 0))


def llama() -> Arm:
    config = LlamaConfig(
        hidden_size=WIDTH, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, num_hidden_layers=1
    )
    config._attn_implementation = "sdpa"
    layer, rotary = LlamaAttention(config, 0), LlamaRotaryEmbedding(config)

    def call(x: torch.Tensor, start: int = 0, cache: DynamicCache | None = None) -> torch.Tensor:
        positions = torch.arange(start, start + x.shape[1])[None]
        return layer(x, rotary(x, positions), attention_mask=None, past_key_values=cache)[0]

    def decode(context: int) -> Callable[[], Any]:
        cache = DynamicCache(config=config)
        with torch.no_grad():
            call(torch.randn(1, context, WIDTH), cache=cache)
        x = torch.randn(1, 1, WIDTH)
        return torch.no_grad()(lambda: call(x, cache.get_seq_length(), cache))

    return Arm(partial(training, call), decode)


if __name__ == "__main__":
    main("attention", {"mnemic": ours, "mnemic window 128": ours_windowed, "llama sdpa": llama})
