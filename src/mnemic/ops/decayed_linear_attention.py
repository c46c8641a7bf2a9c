"""Linear attention with a decaying state, the mechanism under linear attention, retention and Mamba-2.

Legend: B batch, H heads, G groups of heads that share queries and keys, R = H / G heads of a group, T time,
C tokens of a chunk, K key width, V value width.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mnemic.ops.flash_linear_attention import Backend, decayed_linear_attention_fla

__all__ = ["decayed_linear_attention", "decayed_linear_attention_naive"]

# [C, C] scratch of one pass, in bytes: small enough to stay in a core's cache, where elementwise work is cheap
SCRATCH_ON_CPU = 1 << 20
SCRATCH_ELSEWHERE = 1 << 30
# exp of it is 0 beside anything in float64; a lower gate would drown its chunk's other gates in the running sum
LOWEST_LOG_DECAY = -80.0


def decayed_linear_attention_naive(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One token at a time: the definition, and the reference for the chunked form.

    S_t = exp(g_t) S_{t-1} + k_t v_t^T,   o_t = S_t^T q_t   (Dao & Gu 2024, arXiv 2405.21060, eq. 1 with scalar A).

    Args:
        q, k: [B, G, T, K]; each group serves H / G consecutive heads.
        v: [B, H, T, V].
        log_decay: [B, H, T], natural log of what is kept of the state, <= 0; None for plain linear attention, which
            keeps all.
        state: [B, H, K, V] float32, or None for an empty memory.

    Returns:
        o: [B, H, T, V] in v's dtype, and the final state [B, H, K, V] in float32.
    """
    memory = _start(q, v, state)
    q, k = (x.repeat_interleave(v.shape[1] // q.shape[1], dim=1).to(memory.dtype) for x in (q, k))
    outputs = []
    for t in range(q.shape[2]):
        if log_decay is not None:
            memory = memory * log_decay[:, :, t].to(memory.dtype).exp()[..., None, None]
        memory = memory + k[:, :, t, :, None] * v[:, :, t, None, :].to(memory.dtype)
        outputs.append(torch.einsum("bhk,bhkv->bhv", q[:, :, t], memory))
    return torch.stack(outputs, dim=2).to(v.dtype), memory


def decayed_linear_attention(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, state: Tensor | None = None, chunk_size: int = 64,
    *, backend: Backend = "torch",
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The same function in O(T C (K + V)) time: parallel inside chunks, recurrent between them.

    Any T is accepted, and any split of a sequence between calls. Arguments, results and source as
    :func:`decayed_linear_attention_naive`; gradients are first-order only.

    Args:
        backend: "fla" for the kernels of flash-linear-attention, with chunks of their own.

    Raises:
        ValueError: chunk_size < 1, or the shapes of q, k, v and log_decay do not agree.
        UsageError: backend "fla" where it cannot run.
    """
    _check(q, k, v, log_decay, chunk_size)
    if q.shape[2] == 1:
        return decayed_linear_attention_naive(q, k, v, log_decay, state)
    if backend == "fla":
        return decayed_linear_attention_fla(q, k, v, log_decay, state)
    memory = _start(q, v, state)
    heads = (k.shape[1], -1)
    v, memory = v.unflatten(1, heads), memory.unflatten(1, heads)
    if log_decay is not None:
        log_decay = log_decay.clamp(min=LOWEST_LOG_DECAY).unflatten(1, heads)
    inputs = (q, k, v, log_decay, memory)
    keep = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs)
    o, memory, _ = _forward(q, k, v, log_decay, memory, chunk_size, keep)
    return o.permute(0, 2, 3, 1, 4).flatten(1, 2), memory.flatten(1, 2)


@torch.library.custom_op("mnemic::decayed_linear_attention", mutates_args=())
def _forward(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, state: Tensor, chunk_size: int, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Chunk by chunk, in scratch that stays in cache.

    Args:
        q, k: [B, G, T, K]. v: [B, G, R, T, V]. log_decay: [B, G, R, T]. state: [B, G, R, K, V].
        keep: whether the incoming state of every chunk is wanted, for the backward pass.

    Returns:
        o: [B, T, G, R, V], so that the heads of a group stand side by side and share one matrix product, the final
        state [B, G, R, K, V], and the chunks' incoming states [c, B, G, K, R, V], c = 0 unless kept.
    """
    batch, groups, per_group, time, values = v.shape
    passes = _Passes(v, chunk_size)
    o = v.new_empty(batch, time, groups, per_group, values)
    memory = state.transpose(2, 3).clone(memory_format=torch.contiguous_format)  # [B, G, K, R, V]
    states = memory.new_empty(len(passes.chunks) if keep else 0, *memory.shape)
    for index, chunk in enumerate(passes.chunks):
        if keep:
            states[index] = memory
        for rows in passes.rows:
            q_, k_, v_ = (x[rows, ..., chunk, :].to(memory.dtype) for x in (q, k, v))
            decays = _decays(log_decay, rows, chunk, memory.dtype)
            held, scores, written = memory[rows], (q_ @ k_.mT).tril_()[:, :, None], _time_major(v_)
            outside = (q_ @ held.flatten(-2)).unflatten(-1, held.shape[-2:])
            if decays is not None:
                scores = decays.pairwise().mul_(scores)
                outside *= _time_major(decays.left)
                written = written * _time_major(decays.until)
                held *= decays.through
            o[rows, chunk] = (scores @ v_ + _time_major(outside)).permute(0, 3, 1, 2, 4)
            held += (k_.mT @ written.flatten(-2)).unflatten(-1, held.shape[-2:])
    return o, memory.transpose(2, 3).contiguous(), states


@torch.library.custom_op("mnemic::decayed_linear_attention_backward", mutates_args=())
def _backward(
    do: Tensor, dstate: Tensor | None, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, o: Tensor,
    state: Tensor, states: Tensor, chunk_size: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of q, k, v, log_decay and the state, chunk by chunk from the end; shapes as :func:`_forward`.

    Without a log decay, its gradient is empty.

    The gradient of the log decay needs no [C, C] product: every term of o_t holds exp(+c_t), every term of dv_s holds
    exp(-c_s) and every term of the last state holds exp(+c_C), where c is the cumulative log decay of the chunk; so
    dc_t = do_t . o_t - v_t . dv_t, plus <dS, S> at the end of the chunk.
    """
    passes = _Passes(v, chunk_size)
    dq, dk, dv, dg = (
        torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v, _or_empty(log_decay, v))
    )
    following = _time_major(state)  # [B, G, K, R, V]
    dmemory = torch.zeros_like(following) if dstate is None else _time_major(dstate).clone()
    do, o = (x.permute(0, 2, 3, 1, 4) for x in (do, o))
    for index in reversed(range(len(passes.chunks))):
        chunk, before = passes.chunks[index], states[index]
        for rows in passes.rows:
            q_, k_, v_, do_, o_ = (x[rows, ..., chunk, :].to(states.dtype) for x in (q, k, v, do, o))
            decays = _decays(log_decay, rows, chunk, states.dtype)
            held, dheld = before[rows], dmemory[rows]
            from_end = (k_ @ dheld.flatten(-2)).unflatten(-1, held.shape[-2:])
            scores, dscores = (q_ @ k_.mT).tril_()[:, :, None], do_ @ v_.mT
            do_in, v_out = _time_major(do_), _time_major(v_)
            if decays is not None:
                decay = decays.pairwise()
                scores, dscores = scores * decay, dscores.mul_(decay)
                from_end *= _time_major(decays.until)
                do_in, v_out = do_in * _time_major(decays.left), v_out * _time_major(decays.until)
            dv_ = scores.mT @ do_ + _time_major(from_end)
            dv[rows, ..., chunk, :] = dv_
            dscores_ = dscores.sum(2).tril_()
            do_in, v_out = do_in.flatten(-2), v_out.flatten(-2)
            dq[rows, :, chunk] = dscores_ @ k_ + do_in @ held.flatten(-2).mT
            dk[rows, :, chunk] = dscores_.mT @ q_ + v_out @ dheld.flatten(-2).mT
            if decays is not None:
                dcumulated = (do_ * o_).sum(-1) - (v_ * dv_).sum(-1)
                dcumulated[..., -1] += (dheld * following[rows]).sum((2, 4))
                dg[rows, ..., chunk] = dcumulated.flip(-1).cumsum(-1).flip(-1)
                dheld *= decays.through
            dheld += (q_.mT @ do_in).unflatten(-1, held.shape[-2:])
        following = before
    return dq, dk, dv, dg, _time_major(dmemory).contiguous()


@_forward.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, state: Tensor, chunk_size: int, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    batch, groups, per_group, time, values = v.shape
    chunks = -(-time // min(chunk_size, time)) if keep else 0
    final = state.new_empty(state.shape)
    states = state.new_empty(chunks, batch, groups, q.shape[-1], per_group, values)
    return v.new_empty(batch, time, groups, per_group, values), final, states


@_backward.register_fake
def _(
    do: Tensor, dstate: Tensor | None, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, o: Tensor,
    state: Tensor, states: Tensor, chunk_size: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    dq, dk, dv, dg, dstate = (x.new_empty(x.shape) for x in (q, k, v, _or_empty(log_decay, v), state))
    return dq, dk, dv, dg, dstate


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    q, k, v, log_decay, _, ctx.chunk_size, _ = inputs
    ctx.save_for_backward(q, k, v, log_decay, *output)
    ctx.mark_non_differentiable(output[2])
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, do: Tensor | None, dstate: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    q, k, v, log_decay, o, state, states = ctx.saved_tensors
    do = torch.zeros_like(o) if do is None else do
    dq, dk, dv, dg, dstate = _backward(do, dstate, q, k, v, log_decay, o, state, states, ctx.chunk_size)
    return dq, dk, dv, None if log_decay is None else dg, dstate, None, None


def _refuse(ctx: Any, *_: Tensor | None) -> None:
    raise NotImplementedError(
        "decayed_linear_attention has no second-order gradients; decayed_linear_attention_naive has"
    )


_forward.register_autograd(_differentiate, setup_context=_remember)
_backward.register_autograd(_refuse)


class _Passes:
    """Which chunks of time, and which rows of the batch at once, so that a pass's scratch has the right size."""

    def __init__(self, v: Tensor, chunk_size: int) -> None:
        batch, groups, per_group, time, _ = v.shape
        size = min(chunk_size, time)
        self.chunks = [slice(start, min(start + size, time)) for start in range(0, time, size)]
        scratch = SCRATCH_ON_CPU if v.device.type == "cpu" else SCRATCH_ELSEWHERE
        count = max(1, scratch // (groups * per_group * size * size * 4))
        self.rows = [slice(start, start + count) for start in range(0, batch, count)]


@dataclass
class _Decays:
    """What a chunk keeps, from the cumulative log decay since its start: [b, G, R, C]."""

    since: Tensor

    @property
    def left(self) -> Tensor:
        """[b, G, R, C, 1]: what is left at each token of the incoming state."""
        return self.since.exp()[..., None]

    @property
    def until(self) -> Tensor:
        """[b, G, R, C, 1]: what is left at the chunk's end of what each token wrote."""
        return (self.since[..., -1:] - self.since).exp()[..., None]

    @property
    def through(self) -> Tensor:
        """[b, G, 1, R, 1]: what is left of the incoming state at the chunk's end."""
        return self.since[..., -1].exp()[:, :, None, :, None]

    def pairwise(self) -> Tensor:
        """[b, G, R, C, C]: what is left at row t of what column s wrote; above the diagonal 1, for whoever masks it."""
        return (self.since[..., :, None] - self.since[..., None, :]).clamp_(max=0).exp_()


def _decays(log_decay: Tensor | None, rows: slice, chunk: slice, dtype: torch.dtype) -> _Decays | None:
    return None if log_decay is None else _Decays(log_decay[rows, ..., chunk].to(dtype).cumsum(-1))


def _or_empty(x: Tensor | None, like: Tensor) -> Tensor:
    return like.new_empty(0) if x is None else x


def _time_major(x: Tensor) -> Tensor:
    """[B, G, R, C, V] -> [B, G, C, R, V], the heads of a group side by side, and back."""
    return x.transpose(2, 3)


def _start(q: Tensor, v: Tensor, state: Tensor | None) -> Tensor:
    if state is not None:
        return state
    dtype = torch.promote_types(q.dtype, torch.float32)  # float32, or float64 when tests ask for it
    return v.new_zeros(*v.shape[:2], q.shape[-1], v.shape[-1], dtype=dtype)


def _check(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, chunk_size: int) -> None:
    if chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}; it must be at least 1")
    decays = None if log_decay is None else tuple(log_decay.shape)
    fits = q.shape == k.shape and decays in (None, v.shape[:3]) and v.shape[1] % q.shape[1] == 0
    if not fits or (q.shape[0], q.shape[2]) != (v.shape[0], v.shape[2]):
        raise ValueError(
            "shapes do not agree: want q, k [B, G, T, K], v [B, H, T, V], log_decay [B, H, T] with H a multiple of G; "
            f"got q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}, log_decay {decays}"
        )
