"""Legend: B batch, H query heads, G key heads, T queries, S keys, D head width, W window, P prefix."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.ops.attention import (
    attention,
    attention_naive,
    attention_with_lse,
    merge_attention,
    visible_by_position,
    windowed_attention,
)


def problem(queries: int, keys: int, heads: int = 4, groups: int = 2, width: int = 6):
    g = torch.Generator().manual_seed(queries * 97 + keys)
    q = torch.randn(2, heads, queries, width, generator=g, dtype=torch.float64)
    k, v = torch.randn(2, 2, groups, keys, width, generator=g, dtype=torch.float64)
    return q, k, v


def causal(queries: int, keys: int, window: int | None = None):
    slots = torch.arange(keys)[None]
    return visible_by_position(slots[:, keys - queries :], slots, window)


def test_masked_and_causal_forms_equal_the_definition():
    q, k, v = problem(9, 9)
    want, _ = attention_naive(q, k, v, causal(9, 9))
    torch.testing.assert_close(attention(q, k, v, causal(9, 9)), want)
    torch.testing.assert_close(attention(q, k, v, causal=True), want)


def test_log_sum_exp_form_equals_the_definition_where_a_query_sees_nothing_too():
    q, k, v = (x.requires_grad_() for x in problem(5, 8))
    visible = torch.rand(2, 4, 5, 8, generator=torch.Generator().manual_seed(0)) < 0.5
    visible[0, 1, 2] = False
    want, want_lse = attention_naive(q, k, v, visible)
    got, lse = attention_with_lse(q, k, v, visible)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(lse, want_lse)
    assert lse[0, 1, 2] == -torch.inf
    finite = lse.isfinite()
    gradients = torch.autograd.grad(got.sin().sum() + lse[finite].sum(), (q, k, v))
    wanted = torch.autograd.grad(want.sin().sum() + want_lse[finite].sum(), (q, k, v))
    for a, b in zip(gradients, wanted, strict=True):
        assert a.isfinite().all()
        torch.testing.assert_close(a, b.nan_to_num())


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(1, 11))
def test_attention_over_parts_merges_into_the_whole(cut):
    q, k, v = problem(4, 12)
    want, want_lse = attention_with_lse(q, k, v)
    got, lse = merge_attention(
        [attention_with_lse(q, k[:, :, part], v[:, :, part]) for part in (slice(0, cut), slice(cut, None))]
    )
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(lse, want_lse)


def test_a_part_that_nobody_sees_adds_nothing():
    q, k, v = problem(3, 6)
    want = attention_with_lse(q, k, v)
    nothing = attention_with_lse(q, k, v, torch.zeros(1, 1, 3, 6, dtype=torch.bool))
    for got, expected in zip(merge_attention([want, nothing]), want, strict=True):
        torch.testing.assert_close(got, expected)


@settings(max_examples=40, deadline=None)
@given(queries=st.integers(1, 150), before=st.integers(0, 80), window=st.integers(1, 170), prefix=st.integers(0, 3))
def test_the_window_equals_the_mask_it_stands_for(queries, before, window, prefix):
    q, k, v = problem(queries, before + queries)
    mask = causal(queries, before + queries, window)
    pk, pv = torch.randn(2, 2, 2, prefix, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    mask = torch.cat([mask.new_ones(1, 1, queries, prefix), mask], -1)
    want = attention(q, torch.cat([pk, k], 2), torch.cat([pv, v], 2), mask)
    got = windowed_attention(q, k, v, window, (pk, pv) if prefix else None)
    torch.testing.assert_close(got, want)


def test_windows_pass_gradients():
    q, k, v = (x.requires_grad_() for x in problem(90, 100))
    got = torch.autograd.grad(windowed_attention(q, k, v, 13).sin().sum(), (q, k, v))
    want = torch.autograd.grad(attention(q, k, v, causal(90, 100, 13)).sin().sum(), (q, k, v))
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b)


def test_calls_that_would_align_to_the_wrong_corner_are_refused():
    q, k, v = problem(3, 5)
    with pytest.raises(ValueError, match="3 queries, 5 keys"):
        attention(q, k, v, causal=True)
    with pytest.raises(ValueError, match="window 0"):
        windowed_attention(q, k, v, 0)
