"""One mixer is another one's special case: same weights, same output.

Legend: B batch, H heads, T time, K key width, V value width.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mnemic.modules.memory import Step
from mnemic.modules.mixer import Mixer
from mnemic.ops.decayed_linear_attention import decayed_linear_attention_naive
from mnemic.state.delta_net import DeltaNet, DeltaNetConfig
from mnemic.state.gated_deltanet import GatedDeltaNet, GatedDeltaNetConfig
from mnemic.state.gla import GLA, GLAConfig
from mnemic.state.linear_attention import LinearAttention, LinearAttentionConfig
from mnemic.state.mamba2 import Mamba2, Mamba2Config
from mnemic.state.retention import Retention, RetentionConfig

EXACT = {"rtol": 1e-9, "atol": 1e-10}
WIDTH, HEADS = 16, 2


def make(mixer_class, config_class, **options) -> Mixer:
    torch.manual_seed(0)
    return mixer_class(config_class(width=WIDTH, **{"heads": HEADS, **options}), 0).double()


def tokens(time: int = 45) -> Tensor:
    return torch.randn(2, time, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(time))


@torch.no_grad()
def share(source: Mixer, target: Mixer) -> None:
    """Give `target` the weights of `source`; rows of its projection that `source` lacks stay as they are."""
    rows = min(len(source.proj.weight), len(target.proj.weight))
    target.proj.weight[:rows] = source.proj.weight[:rows]
    target.out.weight.copy_(source.out.weight)
    target.norm.weight.copy_(source.norm.weight)
    if source.conv is not None:
        target.conv.weight.copy_(source.conv.weight)


@pytest.mark.parametrize("conv_size", [0, 4])
def test_gla_with_one_constant_gate_per_head_is_retention(conv_size):
    retention = make(Retention, RetentionConfig, rope=False, expand_v=1.0, conv_size=conv_size)
    gla = make(GLA, GLAConfig, expand_k=1.0, gate_temperature=1.0, conv_size=conv_size)
    share(retention, gla)
    paces = retention.log_decay(torch.device("cpu"))
    with torch.no_grad():
        gla.gate.weight.zero_()
        gla.gate.bias.copy_((-torch.log(torch.expm1(-paces))).repeat_interleave(gla.key_width))
        torch.testing.assert_close(gla(tokens(), Step()), retention(tokens(), Step()), **EXACT)


def test_gla_with_open_gates_and_retention_that_does_not_fade_are_linear_attention(monkeypatch):
    linear = make(LinearAttention, LinearAttentionConfig, feature_map="identity", conv_size=0)
    gla = make(GLA, GLAConfig, expand_k=1.0)
    retention = make(Retention, RetentionConfig, rope=False, expand_v=1.0)
    monkeypatch.setattr(retention, "log_decay", lambda device: torch.zeros(HEADS, dtype=torch.float64))
    with torch.no_grad():
        gla.gate.bias.fill_(1e4)
        parts = linear.proj(tokens()).split([linear.keys, linear.keys, linear.values], dim=-1)
        q, k, v = (linear._heads_first(x) for x in parts)
        want, final = linear.recur(q, k, v, tokens(), None, Step())
        for other, beside in ((gla, torch.zeros(2, 45, 16, dtype=torch.float64)), (retention, tokens())):
            o, state = other.recur(q, k, v, beside, None, Step())
            torch.testing.assert_close(o, want, **EXACT)
            torch.testing.assert_close(state, final, **EXACT)


@pytest.mark.parametrize("allow_neg_eigval", [False, True])
def test_gated_deltanet_that_does_not_fade_is_delta_net(allow_neg_eigval):
    delta = make(DeltaNet, DeltaNetConfig, output_gate=True, allow_neg_eigval=allow_neg_eigval)
    gated = make(GatedDeltaNet, GatedDeltaNetConfig, head_width=8, expand_v=1.0, allow_neg_eigval=allow_neg_eigval)
    share(delta, gated)
    with torch.no_grad():
        gated.A_log.fill_(-torch.inf)
        torch.testing.assert_close(gated(tokens(), Step()), delta(tokens(), Step()), **EXACT)


def test_delta_net_that_corrects_nothing_remembers_nothing():
    delta = make(DeltaNet, DeltaNetConfig)
    q, k, v = torch.randn(3, 2, HEADS, 20, 8, dtype=torch.float64).unbind()
    o, state = delta.recur(q, k, v, torch.full((2, 20, HEADS), -torch.inf, dtype=torch.float64), None, Step())
    assert not o.any()
    assert not state.any()


def test_mamba2_is_decayed_linear_attention_of_c_b_and_dt_x():
    config = Mamba2Config(width=WIDTH, head_width=8, state=6, conv_size=0, groups=2)
    torch.manual_seed(0)
    layer = Mamba2(config, 0).double()
    x = tokens()
    with torch.no_grad():
        z, u, b, c, dt = layer.proj(x).split([layer.inner, layer.inner, layer.shared, layer.shared, layer.heads], -1)
        u, b, c = (F.silu(part) for part in (u, b, c))
        dt = F.softplus(dt + layer.dt_bias).transpose(1, 2)
        q, k = (part.unflatten(-1, (config.groups, -1)).transpose(1, 2) for part in (c, b))
        v = u.unflatten(-1, (layer.heads, -1)).transpose(1, 2)
        o, _ = decayed_linear_attention_naive(q, k, dt[..., None] * v, -layer.A_log.exp()[:, None] * dt)
        y = (o + layer.D[:, None, None] * v).transpose(1, 2).flatten(-2)
        torch.testing.assert_close(layer(x, Step()), layer.out(layer.norm(y, z)), **EXACT)


def test_retention_is_attention_without_softmax_times_a_fading_mask():
    layer = make(Retention, RetentionConfig, rope=False)
    q, k = torch.randn(2, 2, HEADS, 30, 8, dtype=torch.float64)
    v = torch.randn(2, HEADS, 30, 16, dtype=torch.float64)
    distance = torch.arange(30)[:, None] - torch.arange(30)
    paces = torch.tensor([1 - 2.0 ** (-5 - h) for h in range(HEADS)], dtype=torch.float64)
    fading = torch.where(distance >= 0, paces[:, None, None] ** distance.clamp(min=0), 0.0)
    want = (q @ k.mT / math.sqrt(8) * fading) @ v
    torch.testing.assert_close(layer.recur(q, k, v, tokens(30), None, Step())[0], want, **EXACT)


@pytest.mark.parametrize(("feature_map", "phi"), [("elu", lambda x: F.elu(x) + 1), ("relu", torch.relu)])
def test_linear_attention_is_attention_with_other_weights(feature_map, phi):
    layer = make(LinearAttention, LinearAttentionConfig, feature_map=feature_map, conv_size=0)
    x = tokens()
    with torch.no_grad():
        q, k, v = (layer._heads_first(part) for part in layer.proj(x).chunk(3, dim=-1))
        weights = (phi(q) @ phi(k).mT).tril()
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-10 * math.sqrt(8))
        want = layer.out((weights @ v).transpose(1, 2).flatten(-2))
        torch.testing.assert_close(layer(x, Step()), want, **EXACT)
