"""The diagonal state-space model: by FFT it is its recurrence, with or without a state, and where rows are short."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mnemic.ops.diagonal_ssm import diagonal_ssm, diagonal_ssm_naive

EXACT = {"rtol": 1e-9, "atol": 1e-10}


def problem(time: int) -> list[Tensor]:
    """u, log_decay, weight, state: B=2, H=3, E=4, N=5."""
    g = torch.Generator().manual_seed(time)
    real = {"generator": g, "dtype": torch.float64}
    complex_ = {"generator": g, "dtype": torch.complex128}
    log_decay = torch.complex(-torch.rand(3, 5, **real), 3 * torch.randn(3, 5, **real))
    u, weight = torch.randn(2, time, 3, 4, **real), torch.randn(3, 5, **complex_)
    return [u, log_decay, weight, torch.randn(2, 3, 5, 4, **complex_)]


def with_gradients(form, args: list[Tensor]) -> tuple[Tensor, ...]:
    args = [x.detach().requires_grad_() for x in args]
    y, state = form(*args)
    return y.detach(), state.detach(), *torch.autograd.grad(y.sin().sum() + state.abs().square().sum(), args)


@settings(max_examples=20, deadline=None)
@given(time=st.integers(1, 60))
def test_the_convolution_is_the_recurrence_gradients_included(time):
    args = problem(time)
    for got, want in zip(with_gradients(diagonal_ssm, args), with_gradients(diagonal_ssm_naive, args), strict=True):
        torch.testing.assert_close(got, want, **EXACT)


def test_without_a_state_it_starts_from_zero_and_keeps_none():
    u, log_decay, weight, state = problem(30)
    want, _ = diagonal_ssm_naive(u, log_decay, weight, torch.zeros_like(state))
    y, final = diagonal_ssm(u, log_decay, weight)
    torch.testing.assert_close(y, want, **EXACT)
    assert final is None


def test_short_rows_read_and_fade_the_state_for_their_own_tokens_only():
    u, log_decay, weight, state = problem(9)
    for lengths in ([9, 4], [0, 1]):
        rows = u.clone()
        for row, length in enumerate(lengths):
            rows[row, : 9 - length] = 0
        y, final = diagonal_ssm(rows, log_decay, weight, state, torch.tensor(lengths))
        for row, length in enumerate(lengths):
            one = slice(row, row + 1)
            if length == 0:
                torch.testing.assert_close(final[one], state[one], **EXACT)
                continue
            want_y, want = diagonal_ssm_naive(u[one, 9 - length :], log_decay, weight, state[one])
            torch.testing.assert_close(y[one, 9 - length :], want_y, **EXACT)
            torch.testing.assert_close(final[one], want, **EXACT)
