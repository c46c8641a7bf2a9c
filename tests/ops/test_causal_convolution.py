"""Legend: B batch, T time, C channels, J taps, d dilation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.ops.causal_convolution import causal_convolution, causal_convolution_naive


def problem(time: int, taps: int, dilation: int = 1, channels: int = 3):
    g = torch.Generator().manual_seed(time * 31 + taps)
    x = torch.randn(2, time, channels, generator=g, dtype=torch.float64)
    weight = torch.randn(channels, taps, generator=g, dtype=torch.float64)
    bias = torch.randn(channels, generator=g, dtype=torch.float64)
    return x, weight, bias, torch.randn(2, (taps - 1) * dilation, channels, generator=g, dtype=torch.float64)


@settings(max_examples=40, deadline=None)
@given(time=st.integers(1, 12), taps=st.integers(1, 5), dilation=st.integers(1, 4), stateful=st.booleans())
def test_it_equals_the_definition_gradients_included(time, taps, dilation, stateful):
    x, weight, bias, state = (t.requires_grad_() for t in problem(time, taps, dilation))
    given_state = state if stateful else None
    results = []
    for function in (causal_convolution, causal_convolution_naive):
        y, after = function(x, weight, bias, given_state, dilation)
        inputs = [x, weight, bias, *([state] if stateful else [])]
        gradients = torch.autograd.grad(y.sin().sum() + after.square().sum(), inputs, materialize_grads=True)
        results.append([y, after, *gradients])
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


def test_it_equals_pytorch_convolution():
    x, weight, bias, _ = problem(20, 4)
    want = torch.nn.functional.conv1d(x.mT, weight[:, None], bias, padding=3, groups=3)[..., :20].mT
    torch.testing.assert_close(causal_convolution(x, weight, bias)[0], want)


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 19), dilation=st.integers(1, 7))
def test_a_split_anywhere_changes_nothing(cut, dilation):
    x, weight, bias, state = problem(20, 4, dilation)
    want, want_state = causal_convolution(x, weight, bias, state, dilation)
    first, state = causal_convolution(x[:, :cut], weight, bias, state, dilation)
    second, state = causal_convolution(x[:, cut:], weight, bias, state, dilation)
    torch.testing.assert_close(torch.cat([first, second], 1), want)
    torch.testing.assert_close(state, want_state)


def test_shapes_that_disagree_are_named():
    x, weight, _, state = problem(5, 4)
    with pytest.raises(ValueError, match=r"want x \[B, T, 3\]"):
        causal_convolution(x[..., :2], weight)
    with pytest.raises(ValueError, match=r"state \(2, 2, 3\)"):
        causal_convolution(x, weight, None, state[:, 1:])
