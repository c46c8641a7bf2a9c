"""Several rows in one, whole and apart: each counts its own positions and sees nothing of the others.

Legend: R rows, B packed rows, T their length.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnemic.errors import UsageError
from mnemic.models import MnemicConfig
from mnemic.models.visibility import layer_kinds
from mnemic.tasks.base import UNASKED, Examples
from mnemic.teaching.memento.blocks import NEVER
from mnemic.teaching.row import Row

__all__ = ["best_fit", "check_can_pack", "joined"]

_PADDING = -1
"""The document of padding."""


def best_fit(lengths: ArrayLike, max_length: int) -> list[list[int]]:
    """Which rows go together: the longest first, each where it leaves the least room (best-fit decreasing).

    Args:
        lengths: [R], each at most `max_length`.
    """
    sizes = np.asarray(lengths)
    if len(sizes) and sizes.max() > max_length:
        raise UsageError(f"a row of {sizes.max()} tokens cannot be packed into max_length={max_length}")
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free tokens, bin), sorted
    for row in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[row])
        place = bisect_left(room, (size, -1))
        free, number = room.pop(place) if place < len(room) else (max_length, len(bins))
        if number == len(bins):
            bins.append([])
        bins[number].append(row)
        insort(room, (free - size, number))
    return bins


def check_can_pack(config: Any) -> None:
    """
    Raises:
        UsageError: a layer of the model carries something from one document into the next.
    """
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    advice = "train it with pack=false, which pads rows of like length instead"
    if isinstance(text, MnemicConfig):
        for index, layer in enumerate(text.layers):
            if layer["mixer"] != "attention":
                raise UsageError(f"rows cannot be packed: layer '{layer['mixer']}' reads across documents; {advice}")
            if getattr(text.mixer_options(index)[1], "conv_size", 0):
                raise UsageError(f"rows cannot be packed: a short convolution reads across documents; {advice}")
    elif "linear_attention" in layer_kinds(text):
        raise UsageError(f"rows cannot be packed: {type(text).__name__} has recurrent layers; {advice}")


def joined(groups: Sequence[Sequence[Row]], pad: int, multiple: int = 1) -> Examples:
    """One packed row per group, padded to the longest.

    Args:
        groups: the rows of each, in order; a group of one is a row as it was.
        pad: the id that fills up.
        multiple: of which the length is to be one.
    """
    length = max(sum(len(row.ids) for row in group) for group in groups)
    shape = (len(groups), -(-length // multiple) * multiple)
    ids, labels = np.full(shape, pad, np.int64), np.full(shape, UNASKED, np.int64)
    positions, until = np.zeros(shape, np.int64), np.full(shape, NEVER, np.int64)
    documents: NDArray[np.int64] = np.full(shape, _PADDING, np.int64)
    for b, group in enumerate(groups):
        start = 0
        for number, row in enumerate(group):
            place = slice(start, start + len(row.ids))
            ids[b, place], labels[b, place], positions[b, place] = row.ids, row.labels, row.positions
            until[b, place] = np.where(row.visible_until == NEVER, NEVER, row.visible_until + start)
            documents[b, place] = number
            start = place.stop
    return _with_what_matters(
        groups, Examples(ids, labels, labels != UNASKED, {}, None, None, positions, until, documents)
    )


def _with_what_matters(groups: Sequence[Sequence[Row]], whole: Examples) -> Examples:
    """Without what says nothing: a model that needs no mask may then run its fastest attention.

    Padding stands behind everything real, so causal attention alone keeps it out.
    """
    rows = [row for group in groups for row in group]
    is_packed = any(len(group) > 1 for group in groups)
    hides = is_packed or any((row.visible_until != NEVER).any() for row in rows)
    moved = is_packed or any((row.positions != np.arange(len(row.positions))).any() for row in rows)
    return Examples(
        whole.input_ids,
        whole.labels,
        whole.loss_mask,
        positions=whole.positions if moved else None,
        visible_until=whole.visible_until if hides else None,
        documents=whole.documents if is_packed else None,
    )
