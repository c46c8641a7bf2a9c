"""Mamba-2 layer: ours beside transformers' torch path with the same weights, at the chunk sizes that matter."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import DynamicCache
from transformers import Mamba2Config as PeerConfig
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

from harness import WIDTH, Arm, decoding, main, training
from mnemic.modules.memory import Step
from mnemic.state.mamba2 import Mamba2, Mamba2Config


def ours() -> Arm:
    torch.manual_seed(0)
    layer = Mamba2(Mamba2Config(width=WIDTH), 0)

    return Arm(partial(training, lambda x: layer(x, Step())), decoding(layer), ours=True)


def peer(chunk_size: int) -> Arm:
    torch.manual_seed(0)
    config = PeerConfig(
        hidden_size=WIDTH,
        num_heads=8,
        head_dim=64,
        state_size=128,
        n_groups=1,
        num_hidden_layers=1,
        chunk_size=chunk_size,
    )
    layer = Mamba2Mixer(config, 0)

    def decode(context: int) -> Callable[[], Any]:
        cache = DynamicCache(config=config)
        with torch.no_grad():
            layer(torch.randn(1, context, WIDTH), cache_params=cache)
        x = torch.randn(1, 1, WIDTH)
        return torch.no_grad()(lambda: layer(x, cache_params=cache))

    return Arm(partial(training, layer), decode if chunk_size == 64 else None)


if __name__ == "__main__":
    main("mamba2", {"mnemic": ours, **{f"transformers chunk {c}": partial(peer, c) for c in (64, 128, 256)}})
