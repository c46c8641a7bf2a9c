"""The gated delta rule over chunks, forward and backward by hand: what `gated_delta_rule` runs for more than one token.

With G_t the log of what is left, at token t, of the chunk's incoming state S (a running sum of log decays), and
D_ts = exp(G_t - G_s) for s <= t, a chunk is a triangular system (WY form; Yang et al. 2024, arXiv 2412.06464, 3.3):

    M = tril(K K^T * D, -1)         what a key meets again of the keys written before it
    R = V - exp(G) K S              what the incoming state does not predict
    E = (I + M diag(beta))^-1 R     the error that each token corrects; it writes U = beta E
    O = exp(G) Q S + P U            with P = tril(Q K^T * D)
    S' = exp(G_end) S + (exp(G_end - G) K)^T U

The inverse is kept as H = (I + M diag(beta))^-1 M, which serves both directions and never asks to divide by beta:
E = R - H (beta R), and with Z = dU - H^T (beta dU), dbeta = E . Z and dR = dV = beta Z.
dG needs no [C, C] product: every exponent stands beside something that is an output or an input already, so that
dG_t = o_t . do_t - v_t . dv_t, to which a chunk's last token adds <S', dS'>.

Legend: B batch, H heads, N = B H, T time, C chunk, c chunks of the sequence, X chunks taken at once, K key width,
V value width. Inside, chunks come first, [X, N, ...]: one chunk of all heads is one contiguous batch for `bmm`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["NORM_EPS", "backward", "forward", "saved_shapes"]

NORM_EPS = 1e-6
# On a CPU, 32 chunks of a head at once keep a few threads busy and their operands in cache; a GPU takes all there are.
_CPU_BATCH = 32


@dataclass
class Span:
    """X chunks of one length, side by side; a chunk shorter than C stands alone at the end."""

    first: int
    chunks: int
    length: int
    start: int

    def of(self, x: Tensor) -> Tensor:
        """[B, H, T, D] -> a view [X, B, H, C, D]."""
        x = x[:, :, self.start : self.start + self.chunks * self.length]
        batch, heads, time, width = x.stride()
        shape = (self.chunks, x.shape[0], x.shape[1], self.length, x.shape[3])
        return x.as_strided(shape, (time * self.length, batch, heads, time, width))

    def of_chunked(self, x: Tensor) -> Tensor:
        """[c, N, C, ...] -> a view [X, N, C, ...]."""
        return x[self.first : self.first + self.chunks, :, : self.length]


@dataclass
class Gates:
    """What tokens do to the state, [c, N, C, 1] each; tokens past the end neither decay nor write."""

    running: Tensor  # G, in float64
    since_start: Tensor  # exp(G)
    until_end: Tensor  # exp(G_end - G)
    beta: Tensor

    def of(self, span: Span) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """beta, since_start, until_end, and what each chunk keeps of its incoming state, [X, N, 1, 1]."""
        beta, since, until = (span.of_chunked(x) for x in (self.beta, self.since_start, self.until_end))
        return beta, since, until, since[:, :, -1:]


def forward(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, state: Tensor | None,
    scale: float, normalise: bool, chunk_size: int, keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Outputs, final state, and, if `keep`, what the backward pass reads: the states around each chunk, E and H.

    Args:
        q, k: [B, H, T, K]. v: [B, H, T, V]. beta, log_decay: [B, H, T]. state: [B, H, K, V], or None. One float dtype.
        scale: multiplies q.
        normalise: divide q and k by their length.

    Returns:
        o [B, H, T, V], final [B, H, K, V], states [c + 1, N, K, V], errors [c, N, C, V], solved [c, N, C, C].
    """
    (batch, heads, time, key), value = q.shape, v.shape[-1]
    rows = batch * heads
    o = torch.empty_like(v)
    states, errors, solved = (v.new_empty(shape) for shape in saved_shapes(q, v, chunk_size, keep))
    gates = _gates(log_decay, beta, chunk_size)
    memory = v.new_zeros(rows, key, value) if state is None else state.reshape(rows, key, value)
    for span in _spans(time, chunk_size, rows, q.device):
        chunks, length = span.chunks, span.length
        qk, _ = _queries_above_keys(q, k, span, scale, normalise)
        keys = qk[:, :, length:]
        beta_, since, until, through = gates.of(span)
        pairs = _by_rows(_bmm(qk, keys.mT), _decay(gates, span))
        overlap = pairs[:, :, length:]
        overlap.diagonal(dim1=-2, dim2=-1).zero_()
        weighted = pairs * beta_.mT
        h = torch.linalg.solve_triangular(weighted[:, :, length:], overlap, upper=False, unitriangular=True)
        correction = h * beta_.mT
        reach, fading_writes = _by_rows(qk.clone(), since), (keys * (beta_ * until)).mT
        rest = v.new_empty(chunks, rows, length, value)
        rest.view(chunks, batch, heads, length, value).copy_(span.of(v))
        e = span.of_chunked(errors) if keep else torch.empty_like(rest)
        passing = states[span.first : span.first + chunks + 1] if keep else v.new_empty(chunks + 1, rows, key, value)
        passing[0] = memory
        for x in range(chunks):
            rest[x].baddbmm_(reach[x, :, length:], passing[x], alpha=-1)
            torch.baddbmm(rest[x], correction[x], rest[x], alpha=-1, out=e[x])
            torch.mul(passing[x], through[x], out=passing[x + 1]).baddbmm_(fading_writes[x], e[x])
        memory = passing[-1]
        outputs = _bmm(weighted[:, :, :length], e, add_to=_bmm(reach[:, :, :length], passing[:-1]))
        span.of(o).copy_(outputs.view(chunks, batch, heads, length, value))
        if keep:
            span.of_chunked(solved)[..., :length] = h
    return o, memory.view(batch, heads, key, value).clone(), states, errors, solved


def backward(
    d_o: Tensor, d_final: Tensor | None, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor,
    o: Tensor, states: Tensor, errors: Tensor, solved: Tensor, scale: float, normalise: bool, chunk_size: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of q, k, v, beta, log_decay and the first state, from those of the outputs and the final state."""
    (batch, heads, time, key), value = q.shape, v.shape[-1]
    rows = batch * heads
    gates = _gates(log_decay, beta, chunk_size)
    d_q, d_k, d_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    d_beta, d_running = torch.zeros_like(gates.beta), torch.zeros_like(gates.beta)
    d_memory = v.new_zeros(rows, key, value) if d_final is None else d_final.reshape(rows, key, value)
    for span in reversed(list(_spans(time, chunk_size, rows, q.device))):
        chunks, length = span.chunks, span.length
        by_head = (chunks, batch, heads, length, value)
        qk, factor = _queries_above_keys(q, k, span, scale, normalise)
        queries, keys = qk[:, :, :length], qk[:, :, length:]
        beta_, since, until, through = gates.of(span)
        decay, e = _decay(gates, span), span.of_chunked(errors)
        weighted = (span.of_chunked(solved)[..., :length] * beta_).mT
        incoming, outgoing = (states[span.first + i : span.first + chunks + i] for i in (0, 1))

        # dO above -dR: both meet the state, the keys and the writes in the same products
        signals = v.new_empty(chunks, rows, 2, length, value)
        d_outputs, d_rest = signals.unbind(2)
        d_outputs.view(by_head).copy_(span.of(d_o))
        d_writes = _bmm(_bmm(queries, keys.mT).mul_(decay).mT, d_outputs)
        d_from_outputs = _bmm((queries * since).mT, d_outputs)
        fading_keys, reach, z = keys * until, (keys * (beta_ * since)).mT, torch.empty_like(d_writes)
        d_states = v.new_empty(chunks + 1, rows, key, value)
        d_states[-1] = d_memory
        for x in reversed(range(chunks)):
            d_writes[x].baddbmm_(fading_keys[x], d_states[x + 1])
            torch.baddbmm(d_writes[x], weighted[x], d_writes[x], alpha=-1, out=z[x])
            torch.addcmul(d_from_outputs[x], d_states[x + 1], through[x], out=d_states[x])
            d_states[x].baddbmm_(reach[x], z[x], alpha=-1)
        d_memory, d_left = d_states[0], d_states[1:]

        minus_d_values = torch.mul(z, beta_, out=d_rest).neg_().view(by_head)
        torch.neg(minus_d_values, out=span.of(d_v))
        span.of_chunked(d_beta)[...] = z.mul_(e).sum(-1, keepdim=True)
        d_gate = (
            (span.of(d_o) * span.of(o)).addcmul_(span.of(v), minus_d_values).sum(-1).reshape(chunks, rows, length, 1)
        )
        d_gate[:, :, -1, 0] += (outgoing * d_left).sum((-1, -2))
        span.of_chunked(d_running)[...] = d_gate

        signals, writes = signals.view(chunks, rows, 2 * length, value), e * beta_
        d_pairs = _by_rows(_bmm(signals, writes.mT), decay)
        d_pairs[:, :, length:].diagonal(dim1=-2, dim2=-1).zero_()
        d_qk = _bmm(d_pairs, keys, add_to=_by_rows(_bmm(signals, incoming.mT), since))
        d_qk[:, :, length:] += _bmm(d_pairs.mT, qk, add_to=_bmm(writes.mul_(until), d_left.mT))
        _through_norm(d_qk, qk, factor, scale, normalise)
        d_qk = d_qk.view(chunks, batch, heads, 2, length, key)
        span.of(d_q)[...], span.of(d_k)[...] = d_qk[:, :, :, 0], d_qk[:, :, :, 1]
    d_log_decay = d_running.flip(2).cumsum(2).flip(2)
    d_beta, d_log_decay = (_unchunked(x, beta) for x in (d_beta, d_log_decay))
    # a closed gate has no slope, and rounding must not give it one: log_decay may itself be the log of a zero
    d_log_decay.masked_fill_(log_decay < _floor(log_decay), 0)
    return d_q, d_k, d_v, d_beta, d_log_decay, d_memory.view(batch, heads, key, value).clone()


def saved_shapes(q: Tensor, v: Tensor, chunk_size: int, keep: bool) -> tuple[tuple[int, ...], ...]:
    """Shapes of the states, errors and solved systems kept for the backward pass."""
    if not keep:
        return (0,), (0,), (0,)
    batch, heads, time, key = q.shape
    chunks, rows, value = -(-time // chunk_size), batch * heads, v.shape[-1]
    return (chunks + 1, rows, key, value), (chunks, rows, chunk_size, value), (chunks, rows, chunk_size, chunk_size)


def _spans(time: int, chunk_size: int, rows: int, device: torch.device) -> Iterator[Span]:
    whole, rest = divmod(time, chunk_size)
    at_once = max(1, _CPU_BATCH // max(rows, 1)) if device.type == "cpu" else max(whole, 1)
    for first in range(0, whole, at_once):
        yield Span(first, min(at_once, whole - first), chunk_size, first * chunk_size)
    if rest:
        yield Span(whole, 1, rest, whole * chunk_size)


def _gates(log_decay: Tensor, beta: Tensor, chunk_size: int) -> Gates:
    # -inf - -inf would be nan: stop where exp is 0 already. What follows such a reset needs float64 to stay precise.
    running = _chunked(log_decay.clamp(min=_floor(log_decay)).to(_wide(log_decay)), chunk_size).cumsum(2)
    since_start, until_end = running.exp(), (running[:, :, -1:] - running).exp()
    return Gates(running, since_start.to(beta.dtype), until_end.to(beta.dtype), _chunked(beta, chunk_size))


def _floor(log_decay: Tensor) -> float:
    return -110.0 if log_decay.dtype == torch.float32 else -750.0


def _wide(x: Tensor) -> torch.dtype:
    return torch.float32 if x.device.type == "mps" else torch.float64


def _decay(gates: Gates, span: Span) -> Tensor:
    """D: [X, N, C, C], zero above the diagonal."""
    running = span.of_chunked(gates.running)
    difference = (running - running.mT).to(gates.beta.dtype)
    # masked before exp: above the diagonal the difference is positive and may overflow
    future = difference.new_full((span.length, span.length), -torch.inf).triu(1)
    return difference.add_(future).exp_()


def _queries_above_keys(q: Tensor, k: Tensor, span: Span, scale: float, normalise: bool) -> tuple[Tensor, Tensor]:
    """[X, N, 2 C, K]: queries, times scale, above keys; and the factor by which each row was multiplied."""
    (batch, heads, _, key), length = q.shape, span.length
    qk = q.new_empty(span.chunks, batch, heads, 2, length, key)
    qk[:, :, :, 0], qk[:, :, :, 1] = span.of(q), span.of(k)
    qk = qk.view(span.chunks, batch * heads, 2 * length, key)
    factor = q.new_ones(2 * length, 1)
    factor[:length] = scale
    if normalise:
        factor = factor * (qk * qk).sum(-1, keepdim=True).add_(NORM_EPS).rsqrt_()
    return qk.mul_(factor), factor


def _through_norm(d_qk: Tensor, qk: Tensor, factor: Tensor, scale: float, normalise: bool) -> None:
    """Turn gradients of what `_queries_above_keys` returned into those of its inputs, in place."""
    if normalise:
        along = (qk * d_qk).sum(-1, keepdim=True)
        along[:, :, : along.shape[2] // 2] /= scale * scale
        d_qk.addcmul_(qk, along, value=-1)
    d_qk.mul_(factor)


def _bmm(a: Tensor, b: Tensor, add_to: Tensor | None = None) -> Tensor:
    """[X, N, I, J] times [X, N, J, L], added in place to a product made before."""
    a_, b_ = a.flatten(0, 1), b.flatten(0, 1)
    product = torch.bmm(a_, b_) if add_to is None else add_to.flatten(0, 1).baddbmm_(a_, b_)
    return product.view(*a.shape[:3], b.shape[3])


def _by_rows(stacked: Tensor, factor: Tensor) -> Tensor:
    """Multiply [X, N, 2 C, D] in place by [X, N, C, D or 1], once above and once below."""
    stacked.unflatten(2, (2, -1)).mul_(factor[:, :, None])
    return stacked


def _chunked(x: Tensor, chunk_size: int) -> Tensor:
    """[B, H, T] -> [c, N, C, 1], zero past the end."""
    padded = torch.nn.functional.pad(x.flatten(0, 1), (0, -x.shape[2] % chunk_size))
    return padded.view(padded.shape[0], -1, chunk_size, 1).transpose(0, 1).contiguous()


def _unchunked(x: Tensor, like: Tensor) -> Tensor:
    """[c, N, C, 1] -> [B, H, T]."""
    return x.transpose(0, 1).flatten(1)[:, : like.shape[2]].reshape(like.shape).contiguous()
