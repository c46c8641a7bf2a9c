"""Linear attention whose state fades by a factor of its own in every key channel, the mechanism under GLA.

Inside a chunk, what column s wrote is left at row t by exp(c_t - c_s) per channel, c the running sum of log decays. One
matrix product gives all pairs once exp(c_t - m) stands on the queries and exp(m - c_s) on the keys, m the sum at the
chunk's middle. Neither factor can overflow in float64 for chunks of 16; only these products need it.

Legend: B batch, H heads, N = B H, T time, C tokens of a chunk, n chunks of a span, K key width, V value width.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mnemic.ops.flash_linear_attention import Backend, gated_linear_attention_fla

__all__ = ["gated_linear_attention", "gated_linear_attention_naive"]

CHUNK = 16
SPAN = 8  # chunks taken at once; only the states between spans are kept for the backward pass
# exp of it is 0 beside 1 in float64, and 8 of it stay inside float64's range
LOWEST_LOG_DECAY = -43.0


def gated_linear_attention_naive(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One token at a time: the definition, and the reference for the chunked form.

    S_t = diag(exp(g_t)) S_{t-1} + k_t v_t^T,   o_t = S_t^T q_t   (Yang et al. 2023, arXiv 2312.06635).

    Args:
        q, k: [B, H, T, K].
        v: [B, H, T, V].
        log_decay: [B, H, T, K], natural log of what each row of the state keeps, <= 0.
        state: [B, H, K, V] float32, or None for an empty memory.

    Returns:
        o: [B, H, T, V] in v's dtype, and the final state [B, H, K, V] in float32 (float64 where q is).
    """
    dtype = torch.promote_types(q.dtype, torch.float32)
    q_, k_, v_, keep = q.to(dtype), k.to(dtype), v.to(dtype), log_decay.to(dtype).exp()[..., None]
    memory = q_.new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1]) if state is None else state.to(dtype)
    outputs = []
    for t in range(q.shape[2]):
        memory = torch.addcmul(keep[:, :, t] * memory, k_[:, :, t, :, None], v_[:, :, t, None, :])
        outputs.append(q_[:, :, t, None] @ memory)
    return torch.cat(outputs, dim=2).to(v.dtype), memory


def gated_linear_attention(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor | None = None, *, backend: Backend = "torch"
) -> tuple[Tensor, Tensor]:
    """The same function, parallel inside chunks of 16 and recurrent between them, with a backward pass by hand.

    Any T is accepted, and any split of a sequence into calls that hand the state on. Gradients are of first order.
    Arguments, results and source as :func:`gated_linear_attention_naive`.

    Args:
        backend: "fla" for the kernels of flash-linear-attention.

    Raises:
        ValueError: the shapes of q, k, v and log_decay do not agree.
        UsageError: backend "fla" where it cannot run.
    """
    _check(q, k, v, log_decay, state)
    time = q.shape[2]
    if time == 1:
        return gated_linear_attention_naive(q, k, v, log_decay, state)
    if backend == "fla":
        return gated_linear_attention_fla(q, k, v, log_decay, state)
    dtype = torch.promote_types(q.dtype, torch.float32)
    size = min(CHUNK, time)
    # tokens past the end have key 0 and decay 1: they neither write nor forget
    padding = (0, 0, 0, -time % size)
    wide = [F.pad(x.to(dtype), padding).unflatten(2, (-1, size)) for x in (q, k, v)]
    decay = F.pad(log_decay.clamp(min=LOWEST_LOG_DECAY).to(dtype), padding).unflatten(2, (-1, size))
    memory = wide[0].new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1]) if state is None else state.to(dtype)
    keep = torch.is_grad_enabled() and any(x.requires_grad for x in (*wide, decay, memory))
    with torch.autocast(q.device.type, enabled=False):
        o, memory, _ = _forward(*wide, decay, memory, keep)
    return o.flatten(2, 3)[:, :, :time].to(v.dtype), memory


@torch.library.custom_op("mnemic::gated_linear_attention", mutates_args=())
def _forward(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Span by span.

    Args:
        q, k, log_decay: [B, H, c, C, K]. v: [B, H, c, C, V]. state: [B, H, K, V].
        keep: whether the states before the spans are wanted, for the backward pass.

    Returns:
        o: like v, the final state, and the states before the spans [s, B, H, K, V], s = 0 unless kept.
    """
    o, memory, befores = v.new_empty(v.shape), state, []
    for span in _spans(q):
        if keep:
            befores.append(memory)
        q_, k_, v_, since = (x[:, :, span] for x in (q, k, v, log_decay))
        since = since.cumsum(3)
        states = _states(k_, v_, since, memory)
        scores = _Scores.of(q_, k_, since).pairs.tril_().to(v.dtype)
        o[:, :, span] = scores @ v_ + (q_ * since.exp()) @ states[:, :, :-1]
        memory = states[:, :, -1]
    return o, memory.clone(), torch.stack(befores) if befores else state.new_empty(0, *state.shape)


@torch.library.custom_op("mnemic::gated_linear_attention_backward", mutates_args=())
def _backward(
    d_o: Tensor, d_state: Tensor | None, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, befores: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k, v, log_decay and the state, span by span from the end; shapes as :func:`_forward`.

    Every exponent stands beside a query or a key: dc_t = q_t dq_t - k_t dk_t, to which a chunk's last token adds
    sum_V S' dS', with S' the state after the chunk.
    """
    d_q, d_k, d_v, d_decay = (x.new_empty(x.shape) for x in (q, k, v, log_decay))
    d_memory = torch.zeros_like(befores[0]) if d_state is None else d_state
    for index, span in reversed(list(enumerate(_spans(q)))):
        q_, k_, v_, since, d_o_ = (x[:, :, span] for x in (q, k, v, log_decay, d_o))
        since = since.cumsum(3)
        left, until = since.exp(), (since[:, :, :, -1:] - since).exp()
        states, scores = _states(k_, v_, since, befores[index]), _Scores.of(q_, k_, since)
        d_states = torch.empty_like(states)
        d_states[:, :, -1] = d_memory
        from_outputs, through = (q_ * left).mT @ d_o_, left[:, :, :, -1, :, None]
        for chunk in reversed(range(q_.shape[2])):
            d_states[:, :, chunk] = torch.addcmul(
                from_outputs[:, :, chunk], through[:, :, chunk], d_states[:, :, chunk + 1]
            )
        d_memory = d_states[:, :, 0]
        d_after = d_states[:, :, 1:]
        d_pairs = (d_o_ @ v_.mT).tril_().to(scores.keys.dtype)
        d_q_ = (d_pairs @ scores.keys * scores.rising).to(q.dtype) + d_o_ @ states[:, :, :-1].mT * left
        d_k_ = (d_pairs.mT @ scores.queries * scores.falling).to(k.dtype) + v_ @ d_after.mT * until
        d_q[:, :, span], d_k[:, :, span] = d_q_, d_k_
        d_v[:, :, span] = scores.pairs.tril_().to(v.dtype).mT @ d_o_ + (k_ * until) @ d_after
        d_since = q_ * d_q_ - k_ * d_k_
        d_since[:, :, :, -1] += (states[:, :, 1:] * d_after).sum(-1)
        d_decay[:, :, span] = d_since.flip(3).cumsum(3).flip(3)
    return d_q, d_k, d_v, d_decay, d_memory.clone()


@_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    spans = len(list(_spans(q))) if keep else 0
    return v.new_empty(v.shape), state.new_empty(state.shape), state.new_empty(spans, *state.shape)


@_backward.register_fake
def _(
    d_o: Tensor, d_state: Tensor | None, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, befores: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    d_q, d_k, d_v, d_decay, d_first = (x.new_empty(x.shape) for x in (q, k, v, log_decay, befores[0]))
    return d_q, d_k, d_v, d_decay, d_first


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    q, k, v, log_decay, _, _ = inputs
    ctx.save_for_backward(q, k, v, log_decay, output[2])
    ctx.mark_non_differentiable(output[2])
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, d_o: Tensor | None, d_state: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    q, k, v, log_decay, befores = ctx.saved_tensors
    d_o = torch.zeros_like(v) if d_o is None else d_o
    return *_backward(d_o, d_state, q, k, v, log_decay, befores), None


def _refuse(ctx: Any, *_: Tensor | None) -> None:
    raise NotImplementedError("gated_linear_attention has no second-order gradients; gated_linear_attention_naive has")


_forward.register_autograd(_differentiate, setup_context=_remember)
_backward.register_autograd(_refuse)


@dataclass
class _Scores:
    """All pairs of a chunk's queries and keys, and what made them, in float64: [B, H, n, C, K] but for the pairs."""

    rising: Tensor  # exp(c_t - m)
    falling: Tensor  # exp(m - c_s)
    queries: Tensor
    keys: Tensor
    pairs: Tensor  # [B, H, n, C, C]; above the diagonal without meaning, maybe infinite

    @classmethod
    def of(cls, q: Tensor, k: Tensor, since: Tensor) -> "_Scores":
        middle = since[:, :, :, since.shape[3] // 2, None]
        offset = (since - middle).to(torch.float64)
        rising, falling = offset.exp(), (-offset).exp()
        queries, keys = q * rising, k * falling
        return cls(rising, falling, queries, keys, queries @ keys.mT)


def _states(k: Tensor, v: Tensor, since: Tensor, memory: Tensor) -> Tensor:
    """[B, H, n + 1, K, V]: the state before each chunk of a span, and after the last."""
    last = since[:, :, :, -1:]
    written, through = (k * (last - since).exp()).mT @ v, last.exp().mT
    states = written.new_empty(*written.shape[:2], written.shape[2] + 1, *written.shape[3:])
    states[:, :, 0] = memory
    for chunk in range(written.shape[2]):
        states[:, :, chunk + 1] = torch.addcmul(written[:, :, chunk], through[:, :, chunk], states[:, :, chunk])
    return states


def _spans(q: Tensor) -> Iterator[slice]:
    return (slice(first, min(first + SPAN, q.shape[2])) for first in range(0, q.shape[2], SPAN))


def _check(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor | None) -> None:
    right = q.shape == k.shape == log_decay.shape and v.shape[:3] == q.shape[:3] and q.shape[2] > 0
    if not right or (state is not None and state.shape != (*q.shape[:2], q.shape[3], v.shape[3])):
        named = {"q": q, "k": k, "v": v, "log_decay": log_decay, "state": state}
        got = ", ".join(f"{name} {tuple(x.shape)}" for name, x in named.items() if x is not None)
        raise ValueError(
            "shapes do not agree: want q, k, log_decay [B, H, T, K], v [B, H, T, V] and state [B, H, K, V] of at least "
            f"one token; got {got}"
        )
