"""Legend: B batch, H heads, G groups, T time, K key width, V value width."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.ops.decayed_linear_attention import decayed_linear_attention, decayed_linear_attention_naive


def problem(
    time: int, *, batch: int = 2, heads: int = 4, groups: int = 4, key: int = 5, value: int = 3, dtype=torch.float64
):
    g = torch.Generator().manual_seed(time)
    q, k = torch.randn(2, batch, groups, time, key, generator=g, dtype=dtype)
    v = torch.randn(batch, heads, time, value, generator=g, dtype=dtype)
    log_decay = -3 * torch.rand(batch, heads, time, generator=g, dtype=dtype)
    return q, k, v, log_decay, torch.randn(batch, heads, key, value, generator=g, dtype=dtype)


def close(got, want, rtol=1e-10, atol=1e-12):
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("time", [1, 2, 15, 16, 17, 63])
def test_chunked_equals_the_definition(time, groups):
    args = problem(time, groups=groups)
    close(decayed_linear_attention(*args, chunk_size=16), decayed_linear_attention_naive(*args))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("time", [1, 8, 21])
def test_gradients_equal_the_definition(time, groups):
    args = [x.requires_grad_() for x in problem(time, groups=groups)]

    def loss(function, **options):
        o, state = function(*args, **options)
        return o.sin().sum() + state.square().sum()

    fast = torch.autograd.grad(loss(decayed_linear_attention, chunk_size=8), args)
    slow = torch.autograd.grad(loss(decayed_linear_attention_naive), args)
    close(fast, slow, rtol=1e-9, atol=1e-11)


def test_gradients_equal_finite_differences():
    args = [x.requires_grad_() for x in problem(5, batch=1, heads=2, groups=1, key=2, value=2)]
    assert torch.autograd.gradcheck(lambda *a: decayed_linear_attention(*a, chunk_size=2), args)


def test_batch_rows_that_do_not_fit_one_pass_change_nothing(monkeypatch):
    args = [x.requires_grad_() for x in problem(20, batch=5)]
    want = decayed_linear_attention(*args, chunk_size=8)
    want_grads = torch.autograd.grad(want[0].sum(), args, allow_unused=True)
    monkeypatch.setattr("mnemic.ops.decayed_linear_attention.SCRATCH_ON_CPU", 2 * 4 * 8 * 8 * 4)
    got = decayed_linear_attention(*args, chunk_size=8)
    close(got, want)
    close(torch.autograd.grad(got[0].sum(), args, allow_unused=True), want_grads)


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 39), chunk=st.integers(1, 45))
def test_a_split_anywhere_changes_nothing(cut, chunk):
    args = problem(40)
    want, _ = decayed_linear_attention(*args, chunk_size=16)
    *sequences, state = args
    first, state = decayed_linear_attention(*(x[:, :, :cut] for x in sequences), state, chunk_size=chunk)
    second, _ = decayed_linear_attention(*(x[:, :, cut:] for x in sequences), state, chunk_size=chunk)
    torch.testing.assert_close(torch.cat([first, second], dim=2), want, rtol=1e-10, atol=1e-12)


def test_the_state_given_is_not_written_to():
    *sequences, state = problem(20)
    before = state.clone()
    decayed_linear_attention(*sequences, state)
    assert torch.equal(state, before)


def test_a_gate_that_forgets_everything_stays_finite():
    q, k, v, log_decay, _ = problem(33, dtype=torch.float32)
    for gate in (-1e4, -torch.inf):
        o, state = decayed_linear_attention(q, k, v, torch.full_like(log_decay, gate), chunk_size=16)
        torch.testing.assert_close(o, (q * k).sum(-1, keepdim=True) * v)
        assert state.isfinite().all()


def test_without_decay_it_is_plain_linear_attention():
    q, k, v, log_decay, _ = problem(30)
    o, _ = decayed_linear_attention(q, k, v, torch.zeros_like(log_decay), chunk_size=7)
    torch.testing.assert_close(o, (q @ k.mT).tril() @ v)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("time", [1, 30])
def test_no_decay_is_a_decay_of_zero_gradients_included(time, groups):
    q, k, v, log_decay, state = (x.requires_grad_() for x in problem(time, groups=groups))
    forms = (decayed_linear_attention, decayed_linear_attention_naive)
    results = []
    for form, decay in [(forms[0], None), (forms[1], None), (forms[0], torch.zeros_like(log_decay))]:
        o, final = form(q, k, v, decay, state)
        results.append((o, final, *torch.autograd.grad(o.sin().sum() + final.square().sum(), (q, k, v, state))))
    close(results[0], results[1], rtol=1e-9)
    close(results[0], results[2], rtol=1e-9)


def test_half_precision_keeps_its_state_in_float32():
    args = problem(30, dtype=torch.float32)
    want, want_state = decayed_linear_attention(*args)
    o, state = decayed_linear_attention(*(x.bfloat16() for x in args[:4]), args[4])
    assert o.dtype == torch.bfloat16
    assert state.dtype == torch.float32
    assert (o.float() - want).norm() < 0.03 * want.norm()
    assert (state - want_state).norm() < 0.03 * want_state.norm()


def test_shapes_that_disagree_are_named():
    q, k, v, log_decay, _ = problem(8)
    with pytest.raises(ValueError, match=r"log_decay \(2, 4, 7\)"):
        decayed_linear_attention(q, k, v, log_decay[:, :, 1:])
    with pytest.raises(ValueError, match="chunk_size is 0"):
        decayed_linear_attention(q, k, v, log_decay, chunk_size=0)
