"""Tokens that are known already, read again without ever holding more than was held when they were written.

A sequence that gave up its cache has a prompt and many finished blocks behind it. One pass over all of it would hold
all of it at once. Here it is read in pieces that end where a block leaves: the same keys, many tokens at a time.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mnemic.teaching.memento.decoding import RunningBatch

__all__ = ["read_on"]


@torch.no_grad()
def read_on(batch: RunningBatch, tokens: Sequence[int]) -> Tensor:
    """Feed tokens to a batch of one row.

    Returns:
        the logits [1, V] after the last of them.
    """
    assert len(batch.rows) == 1
    assert len(tokens)
    if batch.masks.is_recurrent or batch.masks.is_windowed:  # their masks are made for one token at a time
        return [batch.feed([token]) for token in tokens][-1]
    row, logits = batch.rows[0], None
    positions: list[int] = []
    for token in tokens:
        position = len(row.tokens)
        # blocks leave before this token is fed, so what was read before it must be in the cache by then
        if token in batch.markers and positions:
            logits, positions = _read(batch, positions), []
        again = batch.evict_before(0, int(token))
        row.tokens.append(int(token))
        positions += [*(again or ()), position]
    return _read(batch, positions) if positions or logits is None else logits


def _read(batch: RunningBatch, positions: Sequence[int]) -> Tensor:
    fed = np.asarray(positions, np.int64)[None]
    real = np.ones(fed.shape, bool)
    batch.cache.compact()
    batch.cache.expect(fed, real)
    ids = np.asarray(batch.rows[0].tokens, np.int64)[fed]
    with batch.masks.kernel():
        return batch.forward(ids, fed, batch.masks.step(batch.cache, real))
