"""What the Zoology study measures without training: the recall-hit slice, and from how few positions one attends.

Legend: B rows, L tokens of a row.
"""

from collections import Counter
from itertools import pairwise

import numpy as np
import torch

from mnemic.ops.repeated_tokens import repeated_tokens
from mnemic.tasks.base import BoolArray, IntArray
from mnemic.tasks.mqar import MQAR
from mnemic.tasks.text import TextTask

__all__ = ["attending_rows", "repeated_rows", "slice_by_definition", "slice_errors"]


def slice_errors(task: TextTask) -> int:
    """How many tokens of the test windows the slicer and the definition judge differently."""
    rows = task.sample("test", task.windows("test"))
    window = np.concatenate([rows.input_ids, rows.labels[:, -1:]], axis=1)
    wanted = slice_by_definition(window, task.text.tokens("train"), task.slicer.threshold)
    return int((task.slicer.mask(window) != wanted).sum())


def slice_by_definition(window: IntArray, training: IntArray, threshold: int) -> BoolArray:
    """[B, L]: token t completes a bigram that stands earlier in its row and at most `threshold` times in training.

    Every pair of positions is compared: the definition of section 3 of the paper, in plain Python.
    """
    text = training.tolist()
    counts = Counter(pairwise(text))
    found = np.zeros(window.shape, np.bool_)
    for row, tokens in enumerate(window.tolist()):
        bigrams = list(pairwise(tokens))
        for t, bigram in enumerate(bigrams):
            earlier = any(bigrams[s] == bigram for s in range(t))
            found[row, t + 1] = earlier and counts[bigram] <= threshold
    return found


def attending_rows(task: MQAR, seed: int, rows: int = 1000, ignored: int = 0) -> int:
    """The most positions of a test row from which repeated-token attention attends."""
    return int(repeated_rows(task.sample("test", rows, seed).input_ids, ignored).max())


def repeated_rows(input_ids: IntArray, ignored: int) -> IntArray:
    """[B]: the positions of each row whose token stood in it before, as the mixer finds them."""
    ids = torch.from_numpy(np.where(input_ids == ignored, -1, input_ids))
    counted: IntArray = repeated_tokens(ids).sum(1).numpy()
    return counted
