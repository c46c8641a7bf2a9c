"""Hyena and H3: their equations token by token, what they hold, and that the model fills their parameters.

Legend: T time, L taps, P head width.
"""

import math

import pytest
import torch
from torch import Tensor

from mnemic.errors import UsageError
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.modules.memory import Step
from mnemic.state.h3 import H3, H3Config
from mnemic.state.hyena import Hyena, HyenaConfig

EXACT = {"rtol": 1e-9, "atol": 1e-10}


def tokens(time: int, width: int = 6) -> Tensor:
    return torch.randn(1, time, width, dtype=torch.float64, generator=torch.Generator().manual_seed(time))


def hyena(**options) -> Hyena:
    torch.manual_seed(0)
    return Hyena(HyenaConfig(width=6, **{"length": 9, "filter_width": 8, **options}), 0).double()


def h3(**options) -> H3:
    torch.manual_seed(0)
    return H3(H3Config(width=6, **{"state": 4, **options}), 0).double()


@torch.no_grad()
def shifted(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """A depthwise convolution over [T, C], as a sum over taps."""
    taps = weight.shape[1]
    padded = torch.cat([x.new_zeros(taps - 1, x.shape[1]), x])
    y = sum(padded[j : j + len(x)] * weight[:, j] for j in range(taps))
    return y if bias is None else y + bias


def test_hyena_is_its_equation_token_by_token():
    layer, x = hyena(), tokens(12)
    taps = layer.filter.taps(9)
    with torch.no_grad():
        before, after, v = shifted(layer.conv.weight, layer.conv.bias, layer.proj(x[0])).chunk(3, dim=-1)
        gated = before * v
        for t in range(12):
            convolved = sum(taps[i] * gated[t - i] for i in range(min(t + 1, 9)))
            want = layer.out(after[t] * (convolved + layer.filter.beta * gated[t]))
            torch.testing.assert_close(layer(x, Step())[0, t], want, **EXACT)


def test_the_filter_of_hyena_fades_as_it_says():
    layer = hyena(length=1000)
    decays = layer.filter.decays()
    torch.testing.assert_close((-decays * 0.3).exp().min(), torch.tensor(0.01, dtype=torch.float64))
    torch.testing.assert_close((-decays * 1.5).exp().max(), torch.tensor(0.01, dtype=torch.float64))
    with torch.no_grad():
        layer.filter.outer.weight.fill_(1.0)
        taps = layer.filter.taps(1000)
        torch.testing.assert_close(
            taps / taps[:, :1],
            (-torch.arange(1000.0, dtype=torch.float64)[:, None] / 1000 * (decays - decays[0])).exp(),
        )


def test_decoding_follows_weights_that_change_in_the_middle():
    layer, x = hyena(length=7), tokens(12)
    memory = layer.new_memory(1, device=x.device, dtype=x.dtype)
    with torch.no_grad():
        for t in range(12):
            if t == 6:
                layer.filter.outer.weight.data.mul_(-2.0)  # in place and past autograd's version counter
                before = layer(x[:, :6], Step())
            y = layer(x[:, t : t + 1], Step(memory=memory))
        torch.testing.assert_close(y, layer(x, Step())[:, -1:], **EXACT)
        layer.filter.outer.weight.data.div_(-2.0)
        assert (before - layer(x[:, :6], Step())).abs().max() > 1e-3


def test_the_memory_of_hyena_grows_up_to_its_filter_and_no_further():
    layer = hyena(length=7)
    conv = 2 * 18 * 4
    assert [layer.memory_bytes(n) - conv for n in (0, 3, 6, 100)] == [0, 3 * 24, 6 * 24, 6 * 24]


@pytest.mark.parametrize("options", [{}, {"head_width": 3, "conv_size": 0}])
def test_h3_is_its_equation_token_by_token(options):
    layer, x = h3(**options), tokens(11)
    width = layer.config.head_width
    with torch.no_grad():
        q, k, v = layer.proj(x[0]).chunk(3, dim=-1)
        k = k if layer.conv is None else shifted(layer.conv.weight, None, k)
        rate = torch.complex(-layer.log_fading.exp(), layer.turning)
        keep = (rate * layer.log_dt.exp()[:, None]).exp()
        weight = torch.view_as_complex(layer.C) * (keep - 1) / rate
        state = torch.zeros(layer.heads, layer.modes, width, width, dtype=torch.complex128)
        for t in range(11):
            q_, k_, v_ = (z[t].view(layer.heads, width) for z in (q, k, v))
            product = k_[:, :, None] * v_[:, None, :]
            state = keep[..., None, None] * state + product[:, None]
            kept = 2 * (weight[..., None, None] * state).sum(1).real + layer.D[:, None, None] * product
            want = layer.out(torch.einsum("hp,hpv->hv", q_, kept).flatten())
            torch.testing.assert_close(layer(x, Step())[0, t], want, **EXACT)


def test_h3_holds_as_much_however_much_it_has_read():
    layer = h3().float()
    memory = layer.new_memory(2, device=torch.device("cpu"), dtype=torch.float32)
    for length in (1, 30):
        with torch.no_grad():
            layer(torch.randn(2, length, 6), Step(memory=memory))
        assert memory.nbytes == 2 * layer.memory_bytes(memory.seen) == 2 * 4 * (6 * 2 * 4 + 3 * 6)
    assert memory.state.dtype == torch.complex64


def test_modes_of_h3_start_as_published_and_fade():
    layer = h3(state=16)
    log_decay, _ = layer.modes_of(torch.float64)
    steps = layer.log_dt.exp()
    assert steps.min() >= 1e-3
    assert steps.max() <= 1e-1
    torch.testing.assert_close(log_decay.real, (-steps / 2)[:, None].expand(-1, 8), rtol=1e-6, atol=0.0)
    torch.testing.assert_close(log_decay.imag[:, 3], 3 * math.pi * steps, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("name", ["hyena", "h3", "based", "gla", "delta-net", "retention", "linear-attention"])
def test_a_saved_model_comes_back_as_it_was(name, tmp_path):
    model = MnemicForCausalLM(
        MnemicConfig(vocab_size=11, hidden_size=16, layers=[{"mixer": name}], feed_forward=0)
    ).eval()
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    model.save_pretrained(tmp_path)
    prompt = torch.randint(1, 11, (2, 5), generator=torch.Generator().manual_seed(1))
    again = MnemicForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.equal(model(prompt).logits, again(prompt).logits)
    options = {"max_new_tokens": 6, "num_beams": 3, "do_sample": False, "pad_token_id": 0}
    assert torch.equal(again.generate(prompt, **options), model.generate(prompt, **options, use_cache=False))


def test_wrong_options_are_refused_in_one_line():
    for layer, said in [
        ({"mixer": "h3", "head_width": 5}, "head_width 5 does not divide the width 16"),
        ({"mixer": "h3", "state": 5}, "multiple of 2"),
        ({"mixer": "gla", "heads": 3}, "expand_k 0.5 times a width of 16 over 3 heads"),
        ({"mixer": "retention", "heads": 16}, "rope turns pairs"),
        ({"mixer": "linear-attention", "feature_map": "identity", "normaliser": True}, "normaliser divides by a sum"),
        ({"mixer": "linear-attention", "feature_map": "exp"}, "feature_map"),
        ({"mixer": "delta-net", "head": 4}, "did you mean 'heads'"),
        ({"mixer": "based", "heads": 3}, "width 16 does not split into 3 heads"),
    ]:
        with pytest.raises(UsageError, match=said):
            MnemicConfig(hidden_size=16, layers=[layer]).mixer(0)
