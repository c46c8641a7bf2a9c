"""The test-time memory: a network that is trained on its own keys and values while the sequence is read.

Four choices make one (arXiv 2504.13173): what the memory is (`architectures`), the loss that it learns by (`biases`),
what becomes of old weights (keep gates and `retentions`), and the optimiser (rate and momentum; Muon). Gradients are
taken at the weights that a chunk begins with, all of a chunk at once; what of them a token reads is then a masked
linear attention (`coefficients`), so that no weights per token are made. With chunks of one token it is the plain
online rule; `naive.py` has the definition.

Legend: B batch, H heads, M = B H, T time, N chunks, C tokens of a chunk, L layers, D channels, I and O of one layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mnemic.ops.neural_memory.architectures import Norm, Perceptron
from mnemic.ops.neural_memory.biases import L2, AttentionalBias
from mnemic.ops.neural_memory.coefficients import Coefficients, chunk_coefficients
from mnemic.ops.neural_memory.retentions import Identity, Retention
from mnemic.ops.newton_schulz import newton_schulz

__all__ = ["Gates", "Rule", "Weights", "check_rule", "neural_memory"]

Weights = tuple[Tensor, ...]


@dataclass(frozen=True)
class Rule:
    """How a memory learns.

    Attributes:
        memory, bias, retention: the first three choices.
        optimizer: "gd" and "momentum" write token by token. "muon" writes at the end of a chunk, along the orthogonal
            factor of its momentum and as far as the chunk's rates add up to; tokens read their chunk's first weights.
        chunk_size: C.
        reads: "after" a token's own write, or "before" it.
        predicts_with: the "undecayed" weights, or those that the keep gate has "decayed" already (Gated DeltaNet).
        largest_error: longer deltas are cut to this length; None for no limit.
    """

    memory: Perceptron = field(default_factory=Perceptron)
    bias: AttentionalBias = field(default_factory=L2)
    retention: Retention = field(default_factory=Identity)
    optimizer: Literal["gd", "momentum", "muon"] = "gd"
    chunk_size: int = 16
    reads: Literal["after", "before"] = "after"
    predicts_with: Literal["undecayed", "decayed"] = "undecayed"
    largest_error: float | None = None


@dataclass(frozen=True)
class Gates:
    """What every token sets.

    Attributes:
        rate: [B, H, L, T], theta >= 0, the inner learning rate of each layer.
        keep: [B, H, L, T], the share of the old weights that stays; [B, H, L, T, I] for a linear memory whose inputs
            fade apart; None for 1.
        momentum: [B, H, L, T], eta; None where the optimiser has none.
        threshold: [B, H, T], for biases that have one.
        position_rate: [C], TTT's factor on what a chunk has written up to its t-th token; None for 1.
    """

    rate: Tensor
    keep: Tensor | None = None
    momentum: Tensor | None = None
    threshold: Tensor | None = None
    position_rate: Tensor | None = None


def check_rule(rule: Rule) -> None:
    """
    Raises:
        ValueError: choices that do not go together; the message says which do.
    """
    if rule.chunk_size < 1:
        raise ValueError(f"chunk_size is {rule.chunk_size}; it must be at least 1")
    if not rule.retention.linear and rule.optimizer != "gd":
        raise ValueError(
            f"optimizer '{rule.optimizer}' goes with the retention l2 (or none) and lq-paper; "
            f"{type(rule.retention).__name__} moves in a dual space, where 'gd' is the optimiser"
        )
    if rule.predicts_with == "decayed" and not isinstance(rule.retention, Identity):
        raise ValueError(
            f"predicts_with 'decayed' goes with the retention l2 (or none), not {type(rule.retention).__name__}"
        )


def neural_memory(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, weights: Sequence[Tensor], momenta: Sequence[Tensor] | None = None,
    *, rule: Rule, norm: Norm | None = None, complete: Tensor | None = None, checkpoint_every: int | None = None,
) -> tuple[Tensor, Weights, Weights]:  # fmt: skip
    """Read a sequence.

    Args:
        q, k, v: [B, H, T, D]; T is a multiple of C, or the last chunk is shorter, and the state then that of its end.
        weights: dual state [B, H, I, O] of every layer, or [1, H, I, O] where all sequences begin alike.
        momenta: S, of the weights' shapes; None for zeros.
        norm: weight and bias [H, D] of the memory's norm.
        complete: [B, N] of bool, for T = N C: False for chunks that are not full yet. What they write is read inside
            them, and not handed on. None where all are.
        checkpoint_every: groups of so many chunks keep their inputs only, and are run again in the backward pass.

    Returns:
        y [B, H, T, D] in v's dtype; the weights and momenta after the last token, in float32 at least; no momenta
        where the optimiser has none.

    Raises:
        ValueError: the rule's choices do not go together, or shapes do not agree.
    """
    check_rule(rule)
    batch, heads, time, width = q.shape
    _check(q, k, v, gates, weights, rule, complete)
    dtype = torch.promote_types(q.dtype, torch.float32)
    with torch.autocast(q.device.type, enabled=False):
        rows = batch * heads
        state = _State(
            tuple(_by_row(w.to(dtype), batch) for w in weights),
            tuple(_by_row(s.to(dtype), batch) for s in momenta)
            if momenta is not None
            else tuple(q.new_zeros(rows, *w.shape[2:], dtype=dtype) for w in weights)
            if rule.optimizer != "gd"
            else (),
        )
        by_head = [None if p is None else p.to(dtype)[None].expand(batch, -1, -1).reshape(rows, 1, -1)
                   for p in ((norm.weight, norm.bias) if norm else (None, None))]  # fmt: skip
        head_norm = Norm(*by_head)
        outputs = []
        for start, stop in _spans(time, rule.chunk_size):
            chunks = _chunks(q, k, v, gates, start, stop, min(rule.chunk_size, stop - start), rule, dtype, complete)
            step = checkpoint_every or len(chunks)
            for first in range(0, len(chunks), step):
                group = chunks[first : first + step]
                if checkpoint_every and torch.is_grad_enabled():
                    y, state = checkpoint(_run, group, state, head_norm, rule, use_reentrant=False)
                else:
                    y, state = _run(group, state, head_norm, rule)
                outputs.append(y)
        y = torch.cat(outputs, 1) if outputs else q.new_zeros(rows, 0, width, dtype=dtype)
        unflat = [tuple(x.unflatten(0, (batch, heads)) for x in part) for part in (state.weights, state.momenta)]
        return y.unflatten(0, (batch, heads)).to(v.dtype), unflat[0], unflat[1]


@dataclass(frozen=True)
class _State:
    weights: Weights
    momenta: Weights


@dataclass(frozen=True)
class _Chunk:
    """One chunk: tokens [M, C, D], and coefficients of every layer with the first dimension gone."""

    q: Tensor
    k: Tensor
    v: Tensor
    threshold: Tensor | None
    layers: tuple[Coefficients, ...]
    faded: tuple[Tensor | None, ...]
    total_rate: tuple[Tensor, ...]
    complete: Tensor | None


def _run(chunks: Sequence[_Chunk], state: _State, norm: Norm, rule: Rule) -> tuple[Tensor, _State]:
    outputs = []
    for chunk in chunks:
        y, state = _one_chunk(chunk, state, norm, rule)
        outputs.append(y)
    return torch.cat(outputs, 1), state


def _one_chunk(chunk: _Chunk, state: _State, norm: Norm, rule: Rule) -> tuple[Tensor, _State]:
    memory, retention = rule.memory, rule.retention
    weights = tuple(retention.weights(dual) for dual in state.weights)
    inputs, deltas = memory.errors(chunk.k, chunk.v, weights, rule.bias, norm, chunk.threshold, chunk.faded)
    if rule.largest_error is not None:
        deltas = [_cut(delta, rule.largest_error) for delta in deltas]
    follows = retention.linear and rule.optimizer != "muon"

    def layer(index: int, x: Tensor) -> Tensor:
        if not follows:
            return torch.bmm(x, weights[index])
        c, scale = chunk.layers[index], retention.scale(state.weights[index])
        z = torch.bmm(x if c.kept is None else x * c.kept, state.weights[index])
        if c.carried is not None:
            z = torch.baddbmm(z, x * c.carried, state.momenta[index])
        z = torch.baddbmm(z, _overlap(x, inputs[index], c.writes), deltas[index], alpha=-1)
        return z if scale is None else z * scale

    y = memory.read(chunk.q, layer, norm)
    after = [
        _fold(chunk.layers[i], state.weights[i], state.momenta[i] if state.momenta else None, inputs[i], deltas[i])
        for i in range(memory.depth)
    ]
    if rule.optimizer == "muon":
        after = [
            (_faded(c, w) + total * newton_schulz(s, dtype=s.dtype), s)
            for c, w, total, (_, s) in zip(chunk.layers, state.weights, chunk.total_rate, after, strict=True)
            if s is not None
        ]
    new = _State(tuple(retention.settle(w) for w, _ in after), tuple(s for _, s in after if s is not None))
    return y, new if chunk.complete is None else _chosen(chunk.complete, new, state)


def _chosen(complete: Tensor, new: _State, old: _State) -> _State:
    pairs = ((new.weights, old.weights), (new.momenta, old.momenta))
    return _State(*(tuple(torch.where(complete, n, o) for n, o in zip(*pair, strict=True)) for pair in pairs))


def _overlap(x: Tensor, written: Tensor, writes: Tensor) -> Tensor:
    """How much of every write a token meets: [M, C, I] twice -> [M, C, C]; writes [M, C, C], or [M, C, C, I]."""
    if writes.ndim == 4:
        return torch.einsum("mtc,mic,mtic->mti", x, written, writes)
    return torch.bmm(x, written.mT) * writes


def _fold(
    c: Coefficients, weight: Tensor, momentum: Tensor | None, inputs: Tensor, deltas: Tensor
) -> tuple[Tensor, Tensor | None]:
    """The state that a chunk hands on."""
    new = _faded(c, weight)
    if momentum is not None and c.carried_end is not None:
        new = torch.addcmul(new, momentum, c.carried_end)
    new = torch.baddbmm(new, (inputs * c.writes_end).mT, deltas, alpha=-1)
    if momentum is None or c.faded is None or c.surprises_end is None:
        return new, None
    return new, torch.baddbmm(momentum * c.faded, (inputs * c.surprises_end).mT, deltas, alpha=-1)


def _faded(c: Coefficients, weight: Tensor) -> Tensor:
    return weight if c.kept_end is None else weight * c.kept_end.mT


def _cut(delta: Tensor, most: float) -> Tensor:
    return delta * (most * delta.square().sum(-1, keepdim=True).clamp(min=most**2).rsqrt())


def _chunks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Gates,
    start: int,
    stop: int,
    size: int,
    rule: Rule,
    dtype: torch.dtype,
    complete: Tensor | None,
) -> list[_Chunk]:
    """The chunks from `start` to `stop`, which is a whole number of them, with everything that needs no weights."""

    def chunked(x: Tensor) -> tuple[Tensor, ...]:
        """[B, H, T, ...] -> N of [M, C, ...]."""
        x = x[:, :, start:stop].to(dtype).flatten(0, 1)
        return x.unflatten(1, (-1, size)).unbind(1)

    def per_layer(x: Tensor | None) -> Tensor | None:
        """[B, H, L, T, ...] -> [N, M, L, C, ...]."""
        if x is None:
            return None
        x = x[:, :, :, start:stop].to(dtype).flatten(0, 1)
        return x.unflatten(2, (-1, size)).movedim(2, 0)

    rate, keep, momentum = per_layer(gates.rate), per_layer(gates.keep), per_layer(gates.momentum)
    assert rate is not None
    position = gates.position_rate[:size].to(dtype) if gates.position_rate is not None else None
    layers, faded, totals = [], [], []
    for index in range(rule.memory.depth):
        of_layer = [None if x is None else x[:, :, min(index, x.shape[2] - 1)] for x in (rate, keep, momentum)]
        of_layer = of_layer if rule.optimizer != "gd" else [*of_layer[:2], None]
        rate_, keep_, momentum_ = of_layer
        assert rate_ is not None
        if keep_ is not None and keep_.ndim == 4:
            made = _by_channel(rate_, keep_, rule.reads == "before")
        else:
            made = chunk_coefficients(
                rate_, keep_, momentum_, read_first=rule.reads == "before", position_rate=position
            )
        layers.append(made)
        decays = rule.predicts_with == "decayed"
        faded.append(_cumulative(keep_) if decays and keep_ is not None else None)
        totals.append(rate_.sum(-1)[..., None, None])
    full = None
    if complete is not None:
        full = complete.repeat_interleave(q.shape[1], 0).T[:, :, None, None]
    tokens = [chunked(x) for x in (q, k, v)]
    thresholds = chunked(gates.threshold[..., None]) if gates.threshold is not None else None
    return [
        _Chunk(
            tokens[0][n],
            tokens[1][n],
            tokens[2][n],
            thresholds[n] if thresholds is not None else None,
            tuple(c.at(n) for c in layers),
            tuple(None if f is None else f[n] for f in faded),
            tuple(total[n] for total in totals),
            None if full is None else full[n],
        )
        for n in range(len(tokens[0]))
    ]


def _by_channel(rate: Tensor, keep: Tensor, read_first: bool) -> Coefficients:
    """As `chunk_coefficients`, for a keep gate per input channel, [N, M, C, I]: writes are [N, M, C, C, I]."""
    channels = chunk_coefficients(rate[..., None, :].expand_as(keep.mT), keep.mT, None, read_first=read_first)
    assert channels.kept is not None
    assert channels.kept_end is not None
    kept, kept_end = channels.kept.squeeze(-1).mT, channels.kept_end.squeeze(-1).mT
    writes, end = channels.writes.movedim(-3, -1), channels.writes_end.squeeze(-1).mT
    return replace(channels, kept=kept, kept_end=kept_end, writes=writes, writes_end=end)


def _cumulative(keep: Tensor) -> Tensor:
    """[N, M, C] -> [N, M, C, 1], or [N, M, C, I] as it is: what is left of the chunk's first weights."""
    return keep.cumprod(2)[..., None] if keep.ndim == 3 else keep.cumprod(2)


def _spans(time: int, size: int) -> list[tuple[int, int]]:
    whole = time // size * size
    return [span for span in ((0, whole), (whole, time)) if span[1] > span[0]]


def _by_row(x: Tensor, batch: int) -> Tensor:
    """[B or 1, H, I, O] -> [M, I, O]."""
    return x.expand(batch, *x.shape[1:]).flatten(0, 1)


def _check(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, weights: Sequence[Tensor], rule: Rule, complete: Tensor | None
) -> None:
    want = rule.memory.shapes(q.shape[-1])
    got = [tuple(w.shape[2:]) for w in weights]
    if q.shape != k.shape or q.shape != v.shape or got != want:
        raise ValueError(
            f"shapes do not agree: q, k, v have {tuple(q.shape)}, {tuple(k.shape)}, {tuple(v.shape)} and must be "
            f"alike; the layers are {got}, and this memory's are {want}"
        )
    if complete is not None and complete.shape[1] * rule.chunk_size != q.shape[2]:
        raise ValueError(f"complete has {complete.shape[1]} chunks of {rule.chunk_size}; there are {q.shape[2]} tokens")
    layers = rule.memory.depth
    for name, gate in (("rate", gates.rate), ("keep", gates.keep), ("momentum", gates.momentum)):
        if gate is None:
            continue
        if gate.shape[:2] != q.shape[:2] or gate.shape[2] not in (1, layers) or gate.shape[3] != q.shape[2]:
            raise ValueError(f"gate '{name}' has shape {tuple(gate.shape)}; it must be [B, H, {layers} or 1, T]")
    if gates.keep is not None and gates.keep.ndim == 5 and (layers > 1 or rule.optimizer != "gd"):
        raise ValueError("a keep gate per channel goes with a linear memory and the optimiser 'gd'")
    if rule.optimizer != "gd" and gates.momentum is None:
        raise ValueError(f"optimizer '{rule.optimizer}' needs the gate 'momentum'")
    alone = rule.optimizer == "gd" and gates.keep is None and isinstance(rule.retention, Identity)
    if gates.position_rate is not None and not alone:
        raise ValueError("a position rate goes with the optimiser 'gd' and no retention: it scales a chunk's sum")
