"""The gated delta rule: a decaying state that corrects what a key holds before it is read.

S_t = alpha_t (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T,   o_t = scale S_t^T q_t

(Yang et al. 2024, arXiv 2412.06464, eq. 10; alpha = 1 is the delta rule of Schlag et al. 2021, arXiv 2102.11174).
The token reads after its own write.

Legend: B batch, H heads, T time, K key width, V value width.
"""

from typing import Any

import torch
from torch import Tensor

from mnemic.ops import gated_delta_chunks as chunks
from mnemic.ops.flash_linear_attention import Backend, gated_delta_rule_fla

__all__ = ["gated_delta_rule", "gated_delta_rule_naive"]


def gated_delta_rule_naive(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor | None = None, state: Tensor | None = None,
    *, scale: float | None = None, normalise: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One token at a time: the definition, and the reference for the chunked form.

    Args:
        q, k: [B, H, T, K].
        v: [B, H, T, V].
        beta: [B, H, T], how much of the prediction error is corrected; 0 writes nothing, 1 all, up to 2 it overshoots
            (negative eigenvalues, Grazzi et al. 2024, arXiv 2411.12537).
        log_decay: [B, H, T], log alpha <= 0, -inf to forget everything; None for the plain delta rule.
        state: [B, H, K, V], or None for an empty memory.
        scale: multiplies q; None for K^-0.5.
        normalise: divide q and k by their length first. Keys much longer than 1 make the recurrence explode.

    Returns:
        o: [B, H, T, V] in v's dtype, and the final state [B, H, K, V] in float32 (float64 where q is).
    """
    dtype = torch.promote_types(q.dtype, torch.float32)
    with torch.autocast(q.device.type, enabled=False):
        q_, k_, v_, beta_ = (x.to(dtype) for x in (q, k, v, beta))
        if normalise:
            q_, k_ = (x * (x.square().sum(-1, keepdim=True) + chunks.NORM_EPS).rsqrt() for x in (q_, k_))
        q_ = q_ * (q.shape[-1] ** -0.5 if scale is None else scale)
        memory = q_.new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1]) if state is None else state.to(dtype)
        keep = None if log_decay is None else log_decay.to(dtype).exp()[..., None, None]
        outputs = []
        for t in range(q.shape[2]):
            if keep is not None:
                memory = memory * keep[:, :, t]
            error = v_[:, :, t] - (k_[:, :, t, None] @ memory).squeeze(2)
            memory = torch.addcmul(memory, k_[:, :, t, :, None], (beta_[:, :, t, None] * error)[:, :, None])
            outputs.append(q_[:, :, t, None] @ memory)
        return (torch.cat(outputs, dim=2) if outputs else torch.zeros_like(v)).to(v.dtype), memory


def gated_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor | None = None, state: Tensor | None = None,
    *, scale: float | None = None, normalise: bool = False, chunk_size: int | None = None, backend: Backend = "torch",
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The same function, parallel inside chunks and recurrent between them, with a backward pass written by hand.

    Any T is accepted, any strides, and any split of a sequence into calls that hand the state on. Gradients are of
    first order; asking for the second raises. Under `torch.compile` it is one operator of the graph.
    `chunk_size` changes speed, never results; None for 32 on a CPU, where small products cost little, and 64 elsewhere.
    Arguments, results and source as :func:`gated_delta_rule_naive`.

    Args:
        backend: "fla" for the kernels of flash-linear-attention, with chunks of their own.

    Raises:
        ValueError: chunk_size < 1, or the shapes do not agree.
        UsageError: backend "fla" where it cannot run.
    """
    if chunk_size is None:
        chunk_size = 32 if q.device.type == "cpu" else 64
    _check(q, k, v, beta, log_decay, state, chunk_size)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    if q.shape[2] <= 1:
        return gated_delta_rule_naive(q, k, v, beta, log_decay, state, scale=scale, normalise=normalise)
    if backend == "fla":
        return gated_delta_rule_fla(q, k, v, beta, log_decay, state, float(scale), normalise)
    dtype = torch.promote_types(q.dtype, torch.float32)
    decay = torch.zeros_like(beta) if log_decay is None else log_decay
    wide = [x.to(dtype) for x in (q, k, v, beta, decay)]
    state = None if state is None else state.to(dtype)
    chunk_size = min(chunk_size, q.shape[2])
    keep = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (*wide, state))
    o, final, *_ = _forward(*wide, state, float(scale), normalise, chunk_size, keep)
    return o.to(v.dtype), final


@torch.library.custom_op("mnemic::gated_delta_rule", mutates_args=())
def _forward(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, state: Tensor | None,
    scale: float, normalise: bool, chunk_size: int, keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    with torch.autocast(q.device.type, enabled=False):
        return chunks.forward(q, k, v, beta, log_decay, state, scale, normalise, chunk_size, keep)


@torch.library.custom_op("mnemic::gated_delta_rule_backward", mutates_args=())
def _backward(
    d_o: Tensor | None, d_final: Tensor | None, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor,
    o: Tensor, states: Tensor, errors: Tensor, solved: Tensor, scale: float, normalise: bool, chunk_size: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    with torch.autocast(q.device.type, enabled=False):
        d_o = torch.zeros_like(o) if d_o is None else d_o
        return chunks.backward(
            d_o, d_final, q, k, v, beta, log_decay, o, states, errors, solved, scale, normalise, chunk_size
        )


@_forward.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, state: Tensor | None,
    scale: float, normalise: bool, chunk_size: int, keep: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    final = v.new_empty(*k.shape[:2], k.shape[-1], v.shape[-1])
    shapes = chunks.saved_shapes(q, v, chunk_size, keep)
    return torch.empty_like(v), final, *(v.new_empty(shape) for shape in shapes)


@_backward.register_fake
def _(
    d_o: Tensor | None, d_final: Tensor | None, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, *_: Any
) -> tuple[Tensor, ...]:  # fmt: skip
    d_beta, d_log_decay = (beta.new_empty(beta.shape) for _ in range(2))
    d_state = v.new_empty(*k.shape[:2], k.shape[-1], v.shape[-1])
    return *(torch.empty_like(x) for x in (q, k, v)), d_beta, d_log_decay, d_state


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, state, scale, normalise, chunk_size, _ = inputs
    o, _, *saved = output
    ctx.save_for_backward(*tensors, o, *saved)
    ctx.options, ctx.had_state = (scale, normalise, chunk_size), state is not None
    ctx.mark_non_differentiable(*saved)
    ctx.set_materialize_grads(False)  # zeros as large as the saved states would be made otherwise


def _differentiate(ctx: Any, d_o: Tensor | None, d_final: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    if d_o is None and d_final is None:
        return (None,) * 10
    *gradients, d_state = _backward(d_o, d_final, *ctx.saved_tensors, *ctx.options)
    return *gradients, d_state if ctx.had_state else None, None, None, None, None


def _refuse(ctx: Any, *_: Tensor | None) -> None:
    raise NotImplementedError(
        "gated_delta_rule has no second-order gradients; gated_delta_rule_naive has, autograd differentiates it twice"
    )


_forward.register_autograd(_differentiate, setup_context=_remember)
_backward.register_autograd(_refuse)


def _check(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor | None, state: Tensor | None, chunk_size: int
) -> None:
    if chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}; it must be at least 1")
    gates = [beta] if log_decay is None else [beta, log_decay]
    right = q.shape == k.shape and v.shape[:3] == q.shape[:3] and all(x.shape == q.shape[:3] for x in gates)
    if not right or (state is not None and state.shape != (*q.shape[:2], q.shape[3], v.shape[3])):
        named = {"q": q, "k": k, "v": v, "beta": beta, "log_decay": log_decay, "state": state}
        got = ", ".join(f"{name} {tuple(x.shape)}" for name, x in named.items() if x is not None)
        raise ValueError(
            "shapes do not agree: want q, k [B, H, T, K], v [B, H, T, V], beta, log_decay [B, H, T], "
            f"state [B, H, K, V]; got {got}"
        )
