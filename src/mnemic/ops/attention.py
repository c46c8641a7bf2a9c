"""Softmax attention: over everything, over a window with an always-visible prefix, and in parts that are merged.

Legend: B batch, H query heads, G key heads (H a multiple of G; each serves H/G consecutive query heads),
T queries, S keys, D head width, W window, P prefix.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "attention",
    "attention_naive",
    "attention_with_lse",
    "merge_attention",
    "visible_by_position",
    "windowed_attention",
]


def attention_naive(
    q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None = None, scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """One query at a time: the definition (Vaswani et al. 2017, arXiv 1706.03762, eq. 1).

    Args:
        q: [B, H, T, D].
        k, v: [B, G, S, D].
        visible: [B or 1, H or 1, T, S] of bool, or None where every query sees every key.
        scale: what the scores are multiplied with; None for D^-0.5.

    Returns:
        o: [B, H, T, D], zero for a query that sees nothing, and lse: [B, H, T], the log of its softmax's
        denominator, -inf there.
    """
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    outputs, sums = [], []
    for t in range(q.shape[2]):
        scores = torch.einsum("bhd,bhsd->bhs", q[:, :, t], k) * scale
        if visible is not None:
            scores = scores.masked_fill(~visible[:, :, t], -torch.inf)
        lse = scores.logsumexp(-1)
        weights = torch.where(lse[..., None] == -torch.inf, 0.0, (scores - lse[..., None]).exp())
        outputs.append(torch.einsum("bhs,bhsd->bhd", weights, v))
        sums.append(lse)
    return torch.stack(outputs, 2), torch.stack(sums, 2)


def attention(
    q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None = None, scale: float | None = None, causal: bool = False
) -> Tensor:
    """The output alone, through PyTorch's fused kernel; arguments as :func:`attention_naive`.

    Args:
        causal: query t of T sees keys 0 ... t; only with as many keys as queries and no `visible`.

    Raises:
        ValueError: `causal` with `visible` or with S != T, where the kernel would align the mask to the wrong corner.
    """
    if causal and (visible is not None or q.shape[2] != k.shape[2]):
        raise ValueError(
            f"causal needs as many keys as queries and no mask; got {q.shape[2]} queries, {k.shape[2]} keys"
        )
    grouped = q.shape[1] != k.shape[1]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, is_causal=causal, scale=scale, enable_gqa=grouped)


def attention_with_lse(
    q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None = None, scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp, both differentiable; arguments and results as :func:`attention_naive`."""
    groups = k.shape[1]
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = (q.unflatten(1, (groups, -1)) * scale) @ k[:, :, None].mT
    if visible is not None:
        mask = visible.unflatten(1, (groups, -1)) if visible.shape[1] > 1 else visible[:, :, None]
        scores = scores.masked_fill(~mask, -torch.inf)
    lse = scores.logsumexp(-1)
    # a query that sees nothing has lse -inf; its weights are exp(-inf - 0) = 0, and their gradient is 0, not NaN
    weights = (scores - lse.masked_fill(lse == -torch.inf, 0.0)[..., None]).exp()
    return (weights @ v[:, :, None]).flatten(1, 2), lse.flatten(1, 2)


def merge_attention(parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Attention over the union of disjoint key sets, from (o [B, H, T, D], lse [B, H, T]) over each."""
    lses = torch.stack([lse for _, lse in parts])
    total = lses.logsumexp(0)
    shares = (lses - total.masked_fill(total == -torch.inf, 0.0)).exp()
    return sum(
        (share[..., None] * o for share, (o, _) in zip(shares, parts, strict=True)), torch.zeros_like(parts[0][0])
    ), total


def visible_by_position(query_positions: Tensor, key_positions: Tensor, window: int | None = None) -> Tensor:
    """Who sees whom: [B, 1, T, S] of bool from positions [B, T] and [B, S]; a key at a negative position is a hole.

    A query sees the keys at its own and smaller positions, with `window` only the last `window` of them.
    """
    distance = query_positions[:, None, :, None] - key_positions[:, None, None, :]
    visible = (distance >= 0) & (key_positions >= 0)[:, None, None, :]
    return visible if window is None else visible & (distance < window)


def windowed_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    window: int,
    prefix: tuple[Tensor, Tensor] | None = None,
    scale: float | None = None,
) -> Tensor:
    """Causal attention to the last W keys, and to a prefix, in O(T W) time (Beltagy et al. 2020, arXiv 2004.05150).

    Queries are the last T of S positions: query t stands at key S - T + t and sees W keys, its own among them.

    Args:
        q: [B, H, T, D].
        k, v: [B, G, S, D] with S >= T.
        window: W >= 1.
        prefix: keys and values [B, G, P, D] that every query sees.
        scale: as :func:`attention_naive`.

    Returns:
        [B, H, T, D].
    """
    if window < 1 or k.shape[2] < q.shape[2]:
        raise ValueError(
            f"want window >= 1 and at least as many keys as queries; "
            f"got window {window}, {k.shape[2]} keys, {q.shape[2]} queries"
        )
    time, before = q.shape[2], k.shape[2] - q.shape[2]
    reach = window - 1
    if prefix is None and before == 0 and time <= window:
        return attention(q, k, v, scale=scale, causal=True)
    block = min(max(window, 64), time)
    count = -(-time // block)
    spans = block + reach
    # keys from `reach` before the first query to the end of the last block; what does not exist is padding
    left, right = max(reach - before, 0), count * block - time
    k, v = (F.pad(x[:, :, max(before - reach, 0) :], (0, 0, left, right)) for x in (k, v))
    blocks_q = F.pad(q, (0, 0, 0, right)).unflatten(2, (count, block)).transpose(1, 2).flatten(0, 1)
    blocks_k, blocks_v = (x.unfold(2, spans, block).permute(0, 2, 1, 4, 3).flatten(0, 1) for x in (k, v))
    row = torch.arange(block, device=q.device)[:, None]
    column = torch.arange(spans, device=q.device)
    exists = torch.arange(count, device=q.device)[:, None, None] * block + column >= left
    visible = ((column >= row) & (column <= row + reach)) & exists
    if prefix is not None:
        visible = torch.cat([visible.new_ones(count, block, prefix[0].shape[2]), visible], dim=-1)
        blocks_k, blocks_v = (
            torch.cat([x.repeat_interleave(count, dim=0), y], dim=2)
            for x, y in zip(prefix, (blocks_k, blocks_v), strict=True)
        )
    o = attention(blocks_q, blocks_k, blocks_v, visible.repeat(q.shape[0], 1, 1)[:, None], scale)
    return o.unflatten(0, (-1, count)).transpose(1, 2).flatten(2, 3)[:, :, :time]
