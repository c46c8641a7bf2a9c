"""The gated delta rule over chunks is its definition, gradients included; its special cases are what theory says."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule

from mnemic.ops.decayed_linear_attention import decayed_linear_attention_naive
from mnemic.ops.gated_delta_rule import gated_delta_rule, gated_delta_rule_naive

EXACT = {"rtol": 1e-9, "atol": 1e-10}
K, V = 5, 4


def problem(time: int, batch: int = 2, heads: int = 2, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """q, k, v, beta in (0, 2), log_decay and a state; keys of length 1, for longer ones make the recurrence explode."""
    generator = torch.Generator().manual_seed(time)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    q, k, v = normal(batch, heads, time, K), normal(batch, heads, time, K), normal(batch, heads, time, V)
    beta = 2 * normal(batch, heads, time).sigmoid()
    return [q, F.normalize(k, dim=-1), v, beta, -F.softplus(normal(batch, heads, time)), normal(batch, heads, K, V)]


def assert_all_close(got: tuple[Tensor, ...], want: tuple[Tensor, ...], **tolerance: float) -> None:
    for g, w in zip(got, want, strict=True):
        torch.testing.assert_close(g, w, **tolerance)


def with_gradients(rule, args: list[Tensor], **options) -> tuple[Tensor, ...]:
    """Output, final state, and the gradients of a loss in which each of their values has its own weight."""
    args = [x.detach().requires_grad_() for x in args]
    o, state = rule(*args, **options)
    generator = torch.Generator().manual_seed(1)
    loss = sum((x * torch.randn(x.shape, generator=generator, dtype=x.dtype)).sum() for x in (o, state))
    return o.detach(), state.detach(), *torch.autograd.grad(loss, args)


@settings(max_examples=40, deadline=None)
@given(
    time=st.integers(1, 70),
    chunk_size=st.integers(1, 20),
    batch=st.sampled_from([1, 2, 12]),
    normalise=st.booleans(),
    forgotten=st.sets(st.integers(0, 69), max_size=4),
)
def test_the_chunked_form_is_the_definition_gradients_included(time, chunk_size, batch, normalise, forgotten):
    args = problem(time, batch)
    args[4][:, 0, [t for t in forgotten if t < time]] = -torch.inf
    got = with_gradients(gated_delta_rule, args, normalise=normalise, chunk_size=chunk_size)
    assert_all_close(got, with_gradients(gated_delta_rule_naive, args, normalise=normalise), **EXACT)


@pytest.mark.parametrize("normalise", [False, True])
def test_gradients_equal_finite_differences(normalise):
    args = [x.requires_grad_() for x in problem(5, 1, 1)]
    torch.autograd.gradcheck(lambda *a: gated_delta_rule(*a, scale=0.7, normalise=normalise, chunk_size=2), args)


def test_gradients_of_the_output_alone_and_of_the_state_alone():
    args = [x.requires_grad_() for x in problem(11)]
    for output in (0, 1):
        fast, slow = gated_delta_rule(*args, chunk_size=4)[output], gated_delta_rule_naive(*args)[output]
        wants = [x for x in args if output == 0 or x is not args[0]]  # the final state knows nothing of q
        assert_all_close(
            torch.autograd.grad(fast.square().sum(), wants), torch.autograd.grad(slow.square().sum(), wants), **EXACT
        )


def test_a_second_backward_pass_finds_what_the_first_found():
    args = [x.requires_grad_() for x in problem(9)]
    loss = gated_delta_rule(*args, chunk_size=4)[0].square().sum()
    assert_all_close(
        torch.autograd.grad(loss, args, retain_graph=True), torch.autograd.grad(loss, args), rtol=0.0, atol=0.0
    )


def test_second_order_gradients_are_refused_by_name():
    args = [x.requires_grad_() for x in problem(9)]
    (d_q,) = torch.autograd.grad(gated_delta_rule(*args)[0].square().sum(), args[:1], create_graph=True)
    with pytest.raises(NotImplementedError, match="gated_delta_rule_naive"):
        d_q.sum().backward()


@settings(max_examples=25, deadline=None)
@given(cuts=st.sets(st.integers(1, 39), max_size=6))
def test_a_split_anywhere_changes_nothing(cuts):
    *tokens, state = problem(40)
    want = gated_delta_rule(*tokens, state, chunk_size=16)
    outputs = []
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 40], strict=True):
        o, state = gated_delta_rule(*(x[:, :, start:stop] for x in tokens), state, chunk_size=16)
        outputs.append(o)
    assert_all_close((torch.cat(outputs, 2), state), want, **EXACT)


def test_no_decay_is_the_plain_delta_rule():
    q, k, v, beta, _, state = problem(37)
    memory, outputs = state, []
    for t in range(37):
        erase = torch.eye(K, dtype=k.dtype) - beta[:, :, t, None, None] * k[:, :, t, :, None] * k[:, :, t, None]
        memory = erase @ memory + beta[:, :, t, None, None] * k[:, :, t, :, None] * v[:, :, t, None]
        outputs.append(q[:, :, t, None] @ memory)
    want = torch.cat(outputs, 2), memory
    assert_all_close(gated_delta_rule(q, k, v, beta, None, state, scale=1.0, chunk_size=8), want, **EXACT)
    zero = torch.zeros_like(beta)
    assert_all_close(gated_delta_rule(q, k, v, beta, zero, state, scale=1.0, chunk_size=8), want, **EXACT)


def test_beta_zero_only_decays():
    q, k, v, beta, log_decay, state = problem(37)
    o, final = gated_delta_rule(q, k, v, torch.zeros_like(beta), log_decay, state, scale=1.0, chunk_size=8)
    kept = log_decay.cumsum(2).exp()[..., None]
    assert_all_close((o, final), (kept * (q @ state), kept[:, :, -1:] * state), **EXACT)
    o, final = gated_delta_rule(q, k, v, torch.zeros_like(beta), log_decay, chunk_size=8)
    assert not o.any()
    assert not final.any()


def test_with_orthogonal_unit_keys_nothing_is_erased():
    q, _, v, beta, log_decay, _ = problem(24)
    keys = torch.linalg.qr(torch.randn(2, 2, 24, 24, dtype=q.dtype, generator=torch.Generator().manual_seed(0))).Q
    queries = torch.randn(2, 2, 24, 24, dtype=q.dtype, generator=torch.Generator().manual_seed(1))
    got = gated_delta_rule(queries, keys, v, beta, log_decay, scale=1.0, chunk_size=8)
    want = decayed_linear_attention_naive(queries, keys, beta[..., None] * v, log_decay)
    assert_all_close(got, want, **EXACT)


def test_a_key_rewritten_with_beta_one_holds_its_last_value_alone():
    q, k, v, _, _, _ = problem(20)
    same = k[:, :, :1].expand_as(k)
    o, _ = gated_delta_rule(same, same, v, torch.ones(2, 2, 20, dtype=q.dtype), scale=1.0, chunk_size=8)
    torch.testing.assert_close(o, v, **EXACT)


@pytest.mark.parametrize("gate", [-torch.inf, -1e4, -300.0])
def test_a_closed_gate_leaves_the_last_token_alone_and_all_gradients_finite(gate):
    q, k, v, beta, log_decay, state = problem(33, dtype=torch.float32)
    args = [q, k, v, beta, torch.full_like(log_decay, gate), state]
    o, final, *gradients = with_gradients(gated_delta_rule, args, scale=1.0, chunk_size=16)
    torch.testing.assert_close(o, (q * k).sum(-1, keepdim=True) * beta[..., None] * v)
    torch.testing.assert_close(final, k[:, :, -1, :, None] * (beta[..., None] * v)[:, :, -1, None])
    assert all(x.isfinite().all() for x in gradients)
    assert not gradients[4].any()


def test_what_follows_many_resets_keeps_its_precision_in_float32():
    q, k, v, beta, _, state = problem(64)
    log_decay = torch.full_like(beta, -0.01)
    log_decay[:, :, 1:32] = -torch.inf
    want = gated_delta_rule_naive(q, k, v, beta, log_decay, state)
    narrow = [x.float() for x in (q, k, v, beta, log_decay, state)]
    assert_all_close(gated_delta_rule(*narrow), tuple(x.float() for x in want), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_computes_in_float32_and_hands_on_a_float32_state(dtype):
    args = [x.to(dtype) for x in problem(40)[:5]]
    o, state = gated_delta_rule(*args, chunk_size=16)
    assert (o.dtype, state.dtype) == (dtype, torch.float32)
    want_o, want_state = gated_delta_rule_naive(*(x.float() for x in args))
    torch.testing.assert_close(o, want_o.to(dtype))
    torch.testing.assert_close(state, want_state, rtol=1e-4, atol=1e-5)
    gradients = with_gradients(gated_delta_rule, args)[2:]
    assert [x.dtype for x in gradients] == [dtype] * 5


def test_autocast_does_not_reach_inside():
    args = problem(40, dtype=torch.float32)
    want = with_gradients(gated_delta_rule, args)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_all_close(with_gradients(gated_delta_rule, args), want, rtol=0.0, atol=0.0)


def test_no_token_leaves_the_state_as_it_was():
    *tokens, state = problem(3)
    o, final = gated_delta_rule(*(x[:, :, :0] for x in tokens), state)
    assert o.shape == (2, 2, 0, V)
    torch.testing.assert_close(final, state)


def test_the_future_does_not_reach_the_past():
    q, k, v, beta, log_decay, _ = (x.requires_grad_() for x in problem(30))
    o, _ = gated_delta_rule(q, k, v, beta, log_decay, chunk_size=8)
    for gradient in torch.autograd.grad(o[:, :, 13].sum(), (q, k, v, beta, log_decay)):
        assert not gradient[:, :, 14:].any()
        assert gradient[:, :, :14].any()


def test_the_same_as_qwen3_next():
    *tokens, state = problem(150, dtype=torch.float32)
    tokens[1] = 3 * tokens[1]  # both divide keys by their length
    ours = with_gradients(gated_delta_rule, [*tokens, state], normalise=True)

    def theirs(q, k, v, beta, g, state):
        q, k, v, beta, g = (x.transpose(1, 2) for x in (q, k, v, beta, g))
        o, final = torch_chunk_gated_delta_rule(
            q, k, v, g, beta, initial_state=state, output_final_state=True, use_qk_l2norm_in_kernel=True
        )
        return o.transpose(1, 2), final

    assert_all_close(ours, with_gradients(theirs, [*tokens, state]), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*out.*")
def test_the_operator_tells_the_compiler_the_truth():
    *tokens, state = (x.requires_grad_() for x in problem(8))
    torch.library.opcheck(torch.ops.mnemic.gated_delta_rule.default, (*tokens, state, 0.5, True, 4, True))
    torch.library.opcheck(torch.ops.mnemic.gated_delta_rule.default, (*tokens, None, 0.5, False, 4, True))
    ragged = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in problem(9)[:5]]
    options = 0.5, True, 4
    saved = torch.ops.mnemic.gated_delta_rule(*ragged, None, *options, True)
    torch.library.opcheck(
        torch.ops.mnemic.gated_delta_rule_backward.default,
        (saved[0], None, *ragged, saved[0], *saved[2:], *options),
        test_utils=("test_schema", "test_faketensor"),
    )


def test_shapes_that_disagree_are_named():
    q, k, v, beta, log_decay, state = problem(8)
    with pytest.raises(ValueError, match=r"log_decay \(2, 2, 7\)"):
        gated_delta_rule(q, k, v, beta, log_decay[:, :, 1:])
    with pytest.raises(ValueError, match=r"state \(2, 2, 5, 3\)"):
        gated_delta_rule(q, k, v, beta, log_decay, state[..., 1:])
    with pytest.raises(ValueError, match="chunk_size is 0"):
        gated_delta_rule(q, k, v, beta, log_decay, chunk_size=0)
