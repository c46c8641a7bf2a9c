"""Gated DeltaNet: its equations token by token, Qwen3-Next's layer with the same weights, sizes, padding."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Qwen3NextConfig
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet

from mnemic.errors import UsageError
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.modules.memory import Step
from mnemic.state.gated_deltanet import GatedDeltaNet, GatedDeltaNetConfig


def mixer(width: int = 16, **options) -> GatedDeltaNet:
    torch.manual_seed(0)
    return GatedDeltaNet(GatedDeltaNetConfig(width=width, **{"heads": 2, "head_width": 4, **options}), 0)


def qwen3_next(width: int, heads: int, key: int, value: int) -> Qwen3NextGatedDeltaNet:
    config = Qwen3NextConfig(
        hidden_size=width,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
        linear_num_key_heads=heads,
        linear_num_value_heads=heads,
        linear_key_head_dim=key,
        linear_value_head_dim=value,
        rms_norm_eps=1e-5,
    )
    torch.manual_seed(1)
    layer = Qwen3NextGatedDeltaNet(config, 0)
    torch.nn.init.normal_(layer.norm.weight, 1.0, 0.1)
    return layer


def with_weights_of(peer: Qwen3NextGatedDeltaNet, layer: GatedDeltaNet) -> GatedDeltaNet:
    """Theirs stand head by head, [q k v z] and [b a] of one head after the other; ours kind by kind."""
    key, value = peer.head_k_dim, peer.head_v_dim
    by_head = peer.in_proj_qkvz.weight.unflatten(0, (peer.num_k_heads, -1)).split([key, key, value, value], dim=1)
    gates = peer.in_proj_ba.weight.unflatten(0, (peer.num_k_heads, 2)).unbind(1)
    with torch.no_grad():
        layer.proj.weight.copy_(torch.cat([*(x.flatten(0, 1) for x in by_head), *gates]))
        layer.conv.weight.copy_(peer.conv1d.weight.squeeze(1))
        for ours, theirs in ((layer.A_log, peer.A_log), (layer.dt_bias, peer.dt_bias)):
            ours.copy_(theirs)
        layer.norm.weight.copy_(peer.norm.weight)
        layer.out.weight.copy_(peer.out_proj.weight)
    return layer


@pytest.mark.parametrize("time", [1, 70])
def test_the_same_as_qwen3_next_with_the_same_weights_gradients_included(time):
    peer = qwen3_next(24, heads=3, key=8, value=16)
    layer = with_weights_of(peer, mixer(24, heads=3, head_width=8, expand_v=2))
    x = torch.randn(2, time, 24, generator=torch.Generator().manual_seed(2)).requires_grad_()
    ours, theirs = layer(x, Step()), peer(x)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    (d_ours,), (d_theirs,) = (torch.autograd.grad(y.square().sum(), x) for y in (ours, theirs))
    torch.testing.assert_close(d_ours, d_theirs, rtol=1e-4, atol=1e-4)


def by_the_page(layer: GatedDeltaNet, x: Tensor) -> Tensor:
    """baseline-mixers 3.0 and 3.8 for one sequence, written out token by token and head by head."""
    heads, key, value = layer.heads, layer.key_width, layer.value_width
    q, k, v, gate, b, a = layer.proj(x[0]).split(
        [heads * key, heads * key, heads * value, heads * value, heads, heads], -1
    )
    mixed = torch.cat([q, k, v], -1)
    if layer.conv is not None:
        taps = layer.conv.weight.shape[1]
        padded = F.pad(mixed, (0, 0, taps - 1, 0))
        mixed = sum(padded[j : j + len(mixed)] * layer.conv.weight[:, j] for j in range(taps))
    q, k, v = F.silu(mixed).split([heads * key, heads * key, heads * value], -1)
    y = torch.zeros(len(mixed), heads * value, dtype=x.dtype)
    for h in range(heads):
        state = torch.zeros(key, value, dtype=x.dtype)
        for t in range(len(mixed)):
            q_t, k_t = (z[t, h * key : (h + 1) * key] for z in (q, k))
            q_t, k_t = (z / (z @ z + 1e-6).sqrt() for z in (q_t, k_t))
            beta = torch.sigmoid(b[t, h]) * (2 if layer.config.allow_neg_eigval else 1)
            state = state * torch.exp(-layer.A_log[h].exp() * F.softplus(a[t, h] + layer.dt_bias[h]))
            state = state + torch.outer(k_t, beta * (v[t, h * value : (h + 1) * value] - k_t @ state))
            o = q_t @ state / math.sqrt(key)
            o = o / (o.square().mean() + layer.config.norm_eps).sqrt() * layer.norm.weight
            y[t, h * value : (h + 1) * value] = o * F.silu(gate[t, h * value : (h + 1) * value])
    return layer.out(y)[None]


@pytest.mark.parametrize("options", [{}, {"allow_neg_eigval": True, "expand_v": 1.5}, {"conv_size": 0}])
def test_the_page_token_by_token(options):
    layer = mixer(chunk_size=4, **options).double()
    x = torch.randn(1, 11, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(layer(x, Step()), by_the_page(layer, x), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_neither_writes_nor_forgets(side):
    layer = mixer().double()
    real, pads = 9, 4
    x = torch.randn(1, real, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    noise = 100 * torch.ones(1, pads, 16, dtype=torch.float64)
    order = (noise, x) if side == "left" else (x, noise)
    mask = torch.cat([torch.full((1, z.shape[1]), z is x) for z in order], dim=1)
    alone, padded = (layer.new_memory(1, device=x.device, dtype=x.dtype) for _ in range(2))
    with torch.no_grad():
        want = layer(x, Step(memory=alone))
        got = layer(torch.cat(order, dim=1), Step(memory=padded, padding_mask=mask))
    torch.testing.assert_close(got[mask], want[0])
    torch.testing.assert_close(padded.state, alone.state)
    torch.testing.assert_close(padded.conv, alone.conv)


def test_the_memory_is_what_it_says_and_does_not_grow():
    layer = mixer()
    memory = layer.new_memory(3, device=torch.device("cpu"), dtype=torch.float32)
    with torch.no_grad():
        for length in (5, 1, 40):
            layer(torch.randn(3, length, 16), Step(memory=memory))
            assert memory.nbytes == 3 * layer.memory_bytes(memory.seen)
    assert layer.memory_bytes(10) == 2 * 4 * 8 * 4 + 3 * (2 * 2 * 4 + 2 * 8) * 4
    assert memory.seen == 46


def test_the_state_stays_in_float32_where_activations_are_bfloat16():
    layer = mixer().bfloat16()
    memory = layer.new_memory(1, device=torch.device("cpu"), dtype=torch.bfloat16)
    y = layer(torch.randn(1, 12, 16).bfloat16(), Step(memory=memory))
    assert (y.dtype, memory.state.dtype, memory.conv.dtype) == (torch.bfloat16, torch.float32, torch.bfloat16)
    assert memory.nbytes == layer.memory_bytes(12, torch.bfloat16)
    assert y.isfinite().all()


def test_gates_start_as_published():
    layer = mixer(width=64, heads=400)
    rates, steps = layer.A_log.exp(), F.softplus(layer.dt_bias)
    assert 0 < rates.min() < 0.5
    assert 15.5 < rates.max() <= 16
    assert steps.min() >= 1e-3 * (1 - 1e-4)
    assert steps.max() <= 1e-1 * (1 + 1e-4)
    below = (steps.log() < math.log(1e-2)).float().mean()  # log-uniform: half of the steps lie below the middle decade
    assert 0.4 < below < 0.6


@pytest.mark.parametrize(
    ("width", "heads", "key"), [(64, 2, 24), (256, 2, 96), (1024, 3, 256), (2048, 6, 256), (20, 2, 8)]
)
def test_sizes_follow_the_width(width, heads, key):
    config = GatedDeltaNetConfig(width=width)
    assert (config.resolved_heads, config.key_width, config.value_width) == (heads, key, 2 * key)


def test_wrong_options_are_refused_in_one_line():
    with pytest.raises(UsageError, match=r"expand_v 1\.3"):
        MnemicForCausalLM(MnemicConfig(layers=[{"mixer": "gated-deltanet", "head_width": 4, "expand_v": 1.3}]))
    with pytest.raises(UsageError, match="did you mean 'heads'"):
        MnemicForCausalLM(MnemicConfig(layers=[{"mixer": "gated-deltanet", "head": 4}]))
