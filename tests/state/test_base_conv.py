"""BaseConv: its equation, its long filter against the definition, and one result however it is run."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.modules.memory import Step
from mnemic.ops.causal_convolution import causal_convolution_naive
from mnemic.ops.long_convolution import long_convolution
from mnemic.state.base_conv import BaseConv, BaseConvConfig

KERNELS = [{"kernel": 1}, {"kernel": 3}, {"kernel": "long", "length": 64}, {"kernel": "long", "length": 7}]


def mixer(**options) -> BaseConv:
    torch.manual_seed(0)
    return BaseConv(BaseConvConfig(width=6, **options), 0).double()


def stream(layer: BaseConv, x: torch.Tensor, pieces: list[int], padding: torch.Tensor | None = None) -> torch.Tensor:
    """Run x piece by piece; the memory must hold what it says after each."""
    memory = layer.new_memory(x.shape[0], device=x.device, dtype=x.dtype)
    outputs, start = [], 0
    for piece in pieces:
        mask = None if padding is None else padding[:, : start + piece]
        outputs.append(layer(x[:, start : start + piece], Step(padding_mask=mask, memory=memory)))
        start += piece
        assert memory.nbytes == x.shape[0] * layer.memory_bytes(start, x.dtype)
    return torch.cat(outputs, dim=1)


@settings(max_examples=40, deadline=None)
@given(
    time=st.integers(1, 20),
    held=st.integers(0, 20),
    taps=st.integers(1, 30),
    wide=st.sampled_from([torch.float64, torch.float32]),
)
def test_the_fft_equals_the_definition_with_gradients(time: int, held: int, taps: int, wide: torch.dtype) -> None:
    g = torch.Generator().manual_seed(time * 1000 + held * 31 + taps)
    x, past = (torch.randn(2, n, 3, generator=g, dtype=wide, requires_grad=True) for n in (time, held))
    h = torch.randn(taps, 3, generator=g, dtype=wide, requires_grad=True)
    padded = torch.cat([past.new_zeros(2, max(taps - 1 - held, 0), 3), past], dim=1)[:, max(held - taps + 1, 0) :]
    wanted, _ = causal_convolution_naive(x, h.flip(0).T, None, padded)
    got = long_convolution(x, h, past)
    exact = {"rtol": 1e-9, "atol": 1e-9} if wide is torch.float64 else {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(got, wanted, **exact)
    dy = torch.randn(wanted.shape, generator=g, dtype=wide)
    for ours, naive in zip(
        torch.autograd.grad(got, (x, h, past), dy), torch.autograd.grad(wanted, (x, h, past), dy), strict=True
    ):
        torch.testing.assert_close(ours, naive, **exact)


def test_the_equation_token_by_token() -> None:
    layer, x = mixer(kernel="long", length=9), torch.randn(1, 12, 6, dtype=torch.float64)
    taps = layer.conv.taps(9)
    for t in range(12):
        convolved = sum(taps[i] * x[0, t - i] for i in range(min(t + 1, 9))) + x[0, t]
        wanted = layer.gate(x[0, t]) * convolved + x[0, t]
        torch.testing.assert_close(layer(x, Step())[0, t], wanted)


@pytest.mark.parametrize("options", KERNELS)
@pytest.mark.parametrize("silu", [False, True])
def test_one_result_however_it_is_run(options: dict, silu: bool) -> None:
    layer, x = mixer(silu=silu, **options), torch.randn(2, 20, 6, dtype=torch.float64)
    whole = layer(x, Step())
    for pieces in ([1] * 20, [20], [5, 1, 9, 3, 2]):
        torch.testing.assert_close(stream(layer, x, pieces), whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("options", KERNELS)
def test_no_token_depends_on_a_later_one(options: dict) -> None:
    layer = mixer(**options)
    x = torch.randn(1, 12, 6, dtype=torch.float64)
    other = torch.cat([x[:, :7], torch.randn(1, 5, 6, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(layer(x, Step())[:, :7], layer(other, Step())[:, :7], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", KERNELS)
def test_padding_neither_writes_nor_forgets(options: dict) -> None:
    """Row 0 is padded on the left, row 1 on the right of the first piece; both go on as if nothing stood there."""
    layer, x = mixer(**options), torch.randn(2, 16, 6, dtype=torch.float64)
    real = torch.ones(2, 16, dtype=torch.bool)
    real[0, :3] = False
    real[1, 5:9] = False
    got = stream(layer, x, [9, 1, 6], real)
    for row in range(2):
        alone = layer(x[row : row + 1, real[row]], Step())
        torch.testing.assert_close(got[row : row + 1, real[row]], alone, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(layer(x[:1], Step(padding_mask=real[:1]))[:, 3:], layer(x[:1, 3:], Step()))


def test_the_long_memory_grows_up_to_its_filter_and_no_further() -> None:
    layer = mixer(kernel="long", length=7)
    assert [layer.memory_bytes(n) for n in (0, 3, 6, 100)] == [0, 3 * 24, 6 * 24, 6 * 24]
    assert mixer(kernel=3).memory_bytes(100) == 2 * 24


def test_bf16_is_finite_and_near() -> None:
    layer, x = mixer(kernel="long", length=32), torch.randn(2, 20, 6)
    exact = layer.float()(x, Step())
    rough = layer.bfloat16()(x.bfloat16(), Step())
    assert rough.dtype is torch.bfloat16
    torch.testing.assert_close(rough.float(), exact, rtol=0.05, atol=0.2)


def test_two_layers_in_the_host_generate_and_reorder() -> None:
    layers = [{"mixer": "base-conv", "kernel": 3}, {"mixer": "base-conv", "kernel": "long", "length": 32}]
    model = MnemicForCausalLM(MnemicConfig(vocab_size=11, hidden_size=8, layers=layers, feed_forward=0)).eval()
    prompt = torch.randint(1, 11, (2, 5), generator=torch.Generator().manual_seed(1))
    with_memory = model.generate(prompt, max_new_tokens=6, num_beams=3, do_sample=False, pad_token_id=0)
    without = model.generate(prompt, max_new_tokens=6, num_beams=3, do_sample=False, pad_token_id=0, use_cache=False)
    assert torch.equal(with_memory, without)


@pytest.mark.parametrize("kernel", [0, "lnog"])
def test_a_wrong_kernel_is_named(kernel: object) -> None:
    config = MnemicConfig(vocab_size=4, hidden_size=8, layers=[{"mixer": "base-conv", "kernel": kernel}])
    with pytest.raises(UsageError, match=f"base-conv.*kernel.*{kernel}"):
        config.mixer(0)
