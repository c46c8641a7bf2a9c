"""Gated delta rule: our core beside Qwen3-Next's torch path on the same inputs; decoding by the layers around them.

Both cores take q, k, v, log decay and beta as [B, T, H, D] and normalise queries and keys. Heads as a Qwen3-Next layer
of this width would have: 4, keys of 64, values of 128.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache, Qwen3NextConfig
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet, torch_chunk_gated_delta_rule

from harness import BATCH, WIDTH, Arm, decoding, main
from mnemic.ops.gated_delta_rule import gated_delta_rule
from mnemic.state.gated_deltanet import GatedDeltaNet, GatedDeltaNetConfig

HEADS, KEY, VALUE = 4, 64, 128
Core = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def training(core: Core, length: int) -> Callable[[], None]:
    generator = torch.Generator().manual_seed(0)
    q, k, v, g, b, weight = (
        torch.randn(BATCH, length, HEADS, *width, generator=generator)
        for width in ((KEY,), (KEY,), (VALUE,), (), (), (VALUE,))
    )
    inputs = [x.requires_grad_() for x in (q, k, v, -F.softplus(g), b.sigmoid())]
    return lambda: torch.autograd.grad(core(*inputs), inputs, weight)


def ours() -> Arm:
    torch.manual_seed(0)
    layer = GatedDeltaNet(GatedDeltaNetConfig(width=WIDTH, heads=HEADS, head_width=KEY), 0)

    def core(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor) -> Tensor:
        q, k, v, g, beta = (x.transpose(1, 2) for x in (q, k, v, g, beta))
        return gated_delta_rule(q, k, v, beta, g, normalise=True)[0].transpose(1, 2)

    return Arm(partial(training, core), decoding(layer), ours=True)


def peer() -> Arm:
    torch.manual_seed(0)
    config = Qwen3NextConfig(
        hidden_size=WIDTH,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
        linear_num_key_heads=HEADS,
        linear_num_value_heads=HEADS,
        linear_key_head_dim=KEY,
        linear_value_head_dim=VALUE,
    )
    layer = Qwen3NextGatedDeltaNet(config, 0)

    def core(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor) -> Tensor:
        o: Tensor = torch_chunk_gated_delta_rule(q, k, v, g, beta, use_qk_l2norm_in_kernel=True)[0]
        return o

    def decode(context: int) -> Callable[[], Any]:
        cache = DynamicCache(config=config)
        with torch.no_grad():
            layer(torch.randn(1, context, WIDTH), cache_params=cache)
        x = torch.randn(1, 1, WIDTH)
        return torch.no_grad()(lambda: layer(x, cache_params=cache))

    return Arm(partial(training, core), decode)


if __name__ == "__main__":
    main("gated_deltanet", {"mnemic": ours, "transformers": peer})
