"""Linear attention with a decay per key channel: chunked equals the definition, and its special cases."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mnemic.ops.decayed_linear_attention import decayed_linear_attention, decayed_linear_attention_naive
from mnemic.ops.gated_linear_attention import gated_linear_attention, gated_linear_attention_naive

EXACT = {"rtol": 1e-9, "atol": 1e-10}


def problem(time: int, deepest: float = 3.0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """q, k, v, log_decay down to -deepest, and a state: B=2, H=3, K=5, V=4."""
    g = torch.Generator().manual_seed(time)
    q, k, decay = torch.randn(3, 2, 3, time, 5, generator=g, dtype=dtype)
    v, state = (torch.randn(2, 3, n, 4, generator=g, dtype=dtype) for n in (time, 5))
    return [q, k, v, -deepest * decay.sigmoid() ** 2, state]


def with_gradients(form, args: list[Tensor]) -> tuple[Tensor, ...]:
    """Output, final state, and the gradients of a loss in which each of their values has its own weight."""
    args = [x.detach().requires_grad_() for x in args]
    o, state = form(*args)
    g = torch.Generator().manual_seed(1)
    loss = sum((x * torch.randn(x.shape, generator=g, dtype=x.dtype)).sum() for x in (o, state))
    return o.detach(), state.detach(), *torch.autograd.grad(loss, args)


def assert_all_close(got: tuple[Tensor, ...], want: tuple[Tensor, ...], **tolerance: float) -> None:
    for g, w in zip(got, want, strict=True):
        torch.testing.assert_close(g, w, **tolerance)


@settings(max_examples=30, deadline=None)
@given(time=st.integers(1, 170), deepest=st.sampled_from([0.0, 0.05, 3.0, 42.0]))
def test_the_chunked_form_is_the_definition_gradients_included(time, deepest):
    args = problem(time, deepest)
    assert_all_close(
        with_gradients(gated_linear_attention, args), with_gradients(gated_linear_attention_naive, args), **EXACT
    )


@pytest.mark.parametrize("gate", [-1e4, -torch.inf])
def test_closed_gates_leave_the_last_token_alone_and_all_gradients_finite(gate):
    q, k, v, log_decay, state = problem(50, dtype=torch.float32)
    log_decay[:, :, 20:] = gate
    o, final, *gradients = with_gradients(gated_linear_attention, [q, k, v, log_decay, state])
    torch.testing.assert_close(o[:, :, 20:], ((q * k).sum(-1, keepdim=True) * v)[:, :, 20:], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(final, k[:, :, -1, :, None] * v[:, :, -1, None])
    assert all(x.isfinite().all() for x in gradients)


def test_gradients_equal_finite_differences():
    args = [x.requires_grad_() for x in problem(19)]
    small = [x[:1, :1, :, :2] for x in args[:4]]
    assert torch.autograd.gradcheck(lambda *a: gated_linear_attention(*a), [x.detach().requires_grad_() for x in small])


def test_one_decay_for_all_channels_is_decayed_linear_attention():
    q, k, v, log_decay, state = problem(75)
    per_head = log_decay[..., 0]
    want = decayed_linear_attention(q, k, v, per_head, state)
    assert_all_close(gated_linear_attention(q, k, v, per_head[..., None].expand_as(q), state), want, **EXACT)


def test_open_gates_are_plain_linear_attention():
    q, k, v, log_decay, state = problem(75)
    want = decayed_linear_attention_naive(q, k, v, None, state)
    assert_all_close(gated_linear_attention(q, k, v, torch.zeros_like(log_decay), state), want, **EXACT)


@settings(max_examples=20, deadline=None)
@given(cuts=st.sets(st.integers(1, 149), max_size=6))
def test_a_split_anywhere_changes_nothing(cuts):
    *tokens, state = problem(150)
    want = gated_linear_attention(*tokens, state)
    outputs = []
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 150], strict=True):
        o, state = gated_linear_attention(*(x[:, :, start:stop] for x in tokens), state)
        outputs.append(o)
    assert_all_close((torch.cat(outputs, 2), state), want, **EXACT)


def test_half_precision_keeps_its_state_in_float32():
    args = problem(140, dtype=torch.float32)
    want, want_state = gated_linear_attention_naive(*args)
    o, state = gated_linear_attention(*(x.bfloat16() for x in args[:4]), args[4])
    assert (o.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    assert (o.float() - want).norm() < 0.03 * want.norm()
    assert (state - want_state).norm() < 0.03 * want_state.norm()


def test_the_state_given_is_not_written_to():
    *tokens, state = problem(40)
    before = state.clone()
    gated_linear_attention(*tokens, state)
    assert torch.equal(state, before)


def test_second_order_gradients_are_refused_by_name():
    args = [x.requires_grad_() for x in problem(9)]
    (d_q,) = torch.autograd.grad(gated_linear_attention(*args)[0].square().sum(), args[:1], create_graph=True)
    with pytest.raises(NotImplementedError, match="gated_linear_attention_naive"):
        d_q.sum().backward()


@pytest.mark.filterwarnings("ignore:.*out.*")
def test_the_operator_tells_the_compiler_the_truth():
    args = [x.requires_grad_() for x in problem(24)]
    chunked = [x.detach().unflatten(2, (2, 12)).requires_grad_() for x in args[:4]]
    torch.library.opcheck(torch.ops.mnemic.gated_linear_attention.default, (*chunked, args[4], True))


def test_shapes_that_disagree_are_named():
    q, k, v, log_decay, state = problem(8)
    with pytest.raises(ValueError, match=r"log_decay \(2, 3, 7, 5\)"):
        gated_linear_attention(q, k, v, log_decay[:, :, 1:])
    with pytest.raises(ValueError, match=r"state \(2, 3, 5, 3\)"):
        gated_linear_attention(q, k, v, log_decay, state[..., 1:])
