"""Linear attention with a decaying state, the mechanism under linear attention, retention and Mamba-2.

Legend: B batch, H heads, G groups of heads that share queries and keys, R = H / G heads of a group, T time,
C tokens of a chunk, K key width, V value width.
"""

from typing import Any

import torch
from torch import Tensor

__all__ = ["decayed_linear_attention", "decayed_linear_attention_naive"]

# [C, C] scratch of one pass, in bytes: small enough to stay in a core's cache, where elementwise work is cheap
SCRATCH_ON_CPU = 1 << 20
SCRATCH_ELSEWHERE = 1 << 30
# exp of it is 0 beside anything in float64; a lower gate would drown its chunk's other gates in the running sum
LOWEST_LOG_DECAY = -80.0


def decayed_linear_attention_naive(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One token at a time: the definition, and the reference for the chunked form.

    S_t = exp(g_t) S_{t-1} + k_t v_t^T,   o_t = S_t^T q_t   (Dao & Gu 2024, arXiv 2405.21060, eq. 1 with scalar A).

    Args:
        q, k: [B, G, T, K]; each group serves H / G consecutive heads.
        v: [B, H, T, V].
        log_decay: [B, H, T], natural log of what is kept of the state, <= 0.
        state: [B, H, K, V] float32, or None for an empty memory.

    Returns:
        o: [B, H, T, V] in v's dtype, and the final state [B, H, K, V] in float32.
    """
    memory = _start(q, v, state)
    q, k = (x.repeat_interleave(v.shape[1] // q.shape[1], dim=1).to(memory.dtype) for x in (q, k))
    outputs = []
    for t in range(q.shape[2]):
        keep = log_decay[:, :, t].to(memory.dtype).exp()[..., None, None]
        memory = keep * memory + k[:, :, t, :, None] * v[:, :, t, None, :].to(memory.dtype)
        outputs.append(torch.einsum("bhk,bhkv->bhv", q[:, :, t], memory))
    return torch.stack(outputs, dim=2).to(v.dtype), memory


def decayed_linear_attention(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor | None = None, chunk_size: int = 64
) -> tuple[Tensor, Tensor]:
    """The same function in O(T C (K + V)) time: parallel inside chunks, recurrent between them.

    Any T is accepted, and any split of a sequence between calls. Arguments, results and source as
    :func:`decayed_linear_attention_naive`; gradients are first-order only.

    Raises:
        ValueError: chunk_size < 1, or the shapes of q, k, v and log_decay do not agree.
    """
    _check(q, k, v, log_decay, chunk_size)
    if q.shape[2] == 1:
        return decayed_linear_attention_naive(q, k, v, log_decay, state)
    memory = _start(q, v, state)
    heads = (k.shape[1], -1)
    v, memory = v.unflatten(1, heads), memory.unflatten(1, heads)
    log_decay = log_decay.clamp(min=LOWEST_LOG_DECAY).unflatten(1, heads)
    o, memory = _Chunked.apply(q, k, v, log_decay, memory, chunk_size)  # type: ignore[no-untyped-call]
    return o.flatten(1, 2), memory.flatten(1, 2)


class _Chunked(torch.autograd.Function):
    """Chunk by chunk, forward and back, in scratch that stays in cache.

    The gradient of the log decay needs no [C, C] product: every term of o_t holds exp(+c_t), every term of dv_s holds
    exp(-c_s) and every term of the last state holds exp(+c_C), where c is the cumulative log decay of the chunk; so
    dc_t = do_t . o_t - v_t . dv_t, plus <dS, S> at the end of the chunk.

    Here q, k are [B, G, T, K], v and o [B, G, R, T, V], log_decay [B, G, R, T], the state [B, G, R, K, V].
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor, chunk_size: int
    ) -> tuple[Tensor, Tensor]:
        batch, groups, per_group, time, values = v.shape
        passes = _Passes(v, chunk_size)
        # time-major, so that the heads of a group stand side by side and share one matrix product
        o = v.new_empty(batch, time, groups, per_group, values).permute(0, 2, 3, 1, 4)
        memory = state.transpose(2, 3).clone(memory_format=torch.contiguous_format)  # [B, G, K, R, V]
        keeps_states = any(ctx.needs_input_grad)
        states = []
        for chunk in passes.chunks:
            if keeps_states:
                states.append(memory.clone())
            for rows in passes.rows:
                q_, k_, v_, g = (x[rows, ..., chunk, :].to(memory.dtype) for x in (q, k, v, log_decay[..., None]))
                since, left = _decays(g[..., 0])
                held = memory[rows]
                inside = _scores(q_, k_, since) @ v_
                outside = (q_ @ held.flatten(-2)).unflatten(-1, held.shape[-2:])
                outside *= _time_major(left[..., None])
                o[rows, ..., chunk, :] = inside + outside.transpose(2, 3)
                until = _time_major((since[..., -1:] - since).exp()[..., None])
                written = k_.mT @ (_time_major(v_) * until).flatten(-2)
                held *= left[..., -1][:, :, None, :, None]
                held += written.unflatten(-1, held.shape[-2:])
        ctx.save_for_backward(q, k, v, log_decay, o, memory, *states)
        ctx.passes = passes
        return o, memory.transpose(2, 3)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, do: Tensor, dstate: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, log_decay, o, memory, *states = ctx.saved_tensors
        passes: _Passes = ctx.passes
        dq, dk, dv, dg = (torch.empty_like(x) for x in (q, k, v, log_decay))
        dmemory = dstate.transpose(2, 3).clone(memory_format=torch.contiguous_format)  # [B, G, K, R, V]
        following = memory
        for chunk, before in zip(reversed(passes.chunks), reversed(states), strict=True):
            for rows in passes.rows:
                q_, k_, v_, g, do_, o_ = (
                    x[rows, ..., chunk, :].to(memory.dtype) for x in (q, k, v, log_decay[..., None], do, o)
                )
                since, left = _decays(g[..., 0])
                held, dheld = before[rows], dmemory[rows]
                until = (since[..., -1:] - since).exp()[..., None]
                decay = _pairwise(since)
                from_end = (k_ @ dheld.flatten(-2)).unflatten(-1, held.shape[-2:])
                from_end *= _time_major(until)
                scores = (q_ @ k_.mT).tril_()
                dv_ = (scores[:, :, None] * decay).mT @ do_ + from_end.transpose(2, 3)
                dv[rows, ..., chunk, :] = dv_
                dcumulated = (do_ * o_).sum(-1) - (v_ * dv_).sum(-1)
                dcumulated[..., -1] += (dheld * following[rows]).sum((2, 4))
                dg[rows, ..., chunk] = dcumulated.flip(-1).cumsum(-1).flip(-1)
                dscores = (do_ @ v_.mT).mul_(decay).sum(2).tril_()
                do_in = (_time_major(do_) * _time_major(left[..., None])).flatten(-2)
                v_out = (_time_major(v_) * _time_major(until)).flatten(-2)
                dq[rows, :, chunk] = dscores @ k_ + do_in @ held.flatten(-2).mT
                dk[rows, :, chunk] = dscores.mT @ q_ + v_out @ dheld.flatten(-2).mT
                dheld *= left[..., -1][:, :, None, :, None]
                dheld += (q_.mT @ do_in).unflatten(-1, held.shape[-2:])
            following = before
        return dq, dk, dv, dg, dmemory.transpose(2, 3), None


class _Passes:
    """Which chunks of time, and which rows of the batch at once, so that a pass's scratch has the right size."""

    def __init__(self, v: Tensor, chunk_size: int) -> None:
        batch, groups, per_group, time, _ = v.shape
        size = min(chunk_size, time)
        self.chunks = [slice(start, min(start + size, time)) for start in range(0, time, size)]
        scratch = SCRATCH_ON_CPU if v.device.type == "cpu" else SCRATCH_ELSEWHERE
        count = max(1, scratch // (groups * per_group * size * size * 4))
        self.rows = [slice(start, start + count) for start in range(0, batch, count)]


def _decays(log_decay: Tensor) -> tuple[Tensor, Tensor]:
    """Cumulative log decay since the chunk's start, and what is left at each token of the incoming state: [..., C]."""
    since = log_decay.cumsum(-1)
    return since, since.exp()


def _pairwise(since: Tensor) -> Tensor:
    """[..., C, C]: what is left at row t of what column s wrote; above the diagonal 1, for whoever masks it."""
    return (since[..., :, None] - since[..., None, :]).clamp_(max=0).exp_()


def _scores(q: Tensor, k: Tensor, since: Tensor) -> Tensor:
    """[B, G, R, C, C]: decayed scores, zero above the diagonal; they are masked once per group, not per head."""
    return _pairwise(since).mul_((q @ k.mT).tril_()[:, :, None])


def _time_major(x: Tensor) -> Tensor:
    """[B, G, R, C, V] -> [B, G, C, R, V]: the heads of a group side by side."""
    return x.transpose(2, 3)


def _start(q: Tensor, v: Tensor, state: Tensor | None) -> Tensor:
    if state is not None:
        return state
    dtype = torch.promote_types(q.dtype, torch.float32)  # float32, or float64 when tests ask for it
    return v.new_zeros(*v.shape[:2], q.shape[-1], v.shape[-1], dtype=dtype)


def _check(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, chunk_size: int) -> None:
    if chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}; it must be at least 1")
    fits = q.shape == k.shape and log_decay.shape == v.shape[:3] and v.shape[1] % q.shape[1] == 0
    if not fits or (q.shape[0], q.shape[2]) != (v.shape[0], v.shape[2]):
        raise ValueError(
            "shapes do not agree: want q, k [B, G, T, K], v [B, H, T, V], log_decay [B, H, T] with H a multiple of G; "
            f"got q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}, log_decay {tuple(log_decay.shape)}"
        )
