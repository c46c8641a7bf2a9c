"""What the recurrences recall as they are, with random keys: the claims of the page on baseline mixers.

Legend: B instances, T writes, D width of keys and values.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mnemic.ops.decayed_linear_attention import decayed_linear_attention
from mnemic.ops.gated_delta_rule import gated_delta_rule

INSTANCES, WIDTH = 16, 32


def unit(count: int, seed: int) -> Tensor:
    """[B, count, D] of length 1."""
    g = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(INSTANCES, count, WIDTH, generator=g, dtype=torch.float64), dim=-1)


def recalled(rule: str, keys: Tensor, values: Tensor, asked: Tensor, wanted: Tensor, decay: float = 0.0) -> float:
    """The share of keys [B, n, D] whose answer is nearest, of all values written, to the one wanted: [B, n]."""
    k, v = keys[:, None], values[:, None]
    log_decay = torch.full(k.shape[:3], -decay, dtype=k.dtype)
    if rule == "add":
        _, state = decayed_linear_attention(k, k, v, log_decay)
    else:
        _, state = gated_delta_rule(k, k, v, torch.full(k.shape[:3], 0.9, dtype=k.dtype))
    answers = (asked @ state[:, 0]) @ values.mT
    return float((answers.argmax(-1) == wanted).double().mean())


def test_a_delta_rule_rebinds_a_key_and_a_sum_does_not():
    count = 16
    keys, values = unit(count, 0), unit(2 * count, 1)
    again = (torch.cat([keys, keys], 1), values, keys, torch.arange(count, 2 * count).expand(INSTANCES, -1))
    assert recalled("delta", *again) >= 0.95
    assert recalled("add", *again) <= 0.6
    assert recalled("add", *again, decay=0.05) >= 0.8


def test_in_a_long_stream_the_last_pairs_survive_only_where_the_old_ones_leave():
    count, asked = 512, 8
    keys, values = unit(count, 2), unit(count, 3)
    last = (keys, values, keys[:, -asked:], torch.arange(count - asked, count).expand(INSTANCES, -1))
    assert recalled("add", *last) <= 0.2
    assert recalled("add", *last, decay=0.05) >= 0.9
    assert recalled("delta", *last) >= 0.9
