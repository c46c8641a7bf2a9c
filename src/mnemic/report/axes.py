"""What charts share: their axes, ticks, and their content in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from mnemic.report.figure import INK, MUTED, short
from mnemic.report.records import Record
from mnemic.report.summary import Estimate, Group
from mnemic.report.units import bytes_text, score_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

__all__ = [
    "byte_ticks",
    "chance_note",
    "few_ticks",
    "in_words",
    "leading_number",
    "name_rows",
    "score_axis",
    "score_name",
]


def name_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Names beside rows, the first on top."""
    axes.set_yticks(range(len(labels)), [short(label) for label in labels], color=INK)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(False)


def score_axis(axes: Axes, top: float | None, chance: float | None) -> None:
    if top is not None:
        axes.set_ylim(0, top * 1.03)
        axes.set_yticks([0, top / 4, top / 2, 3 * top / 4, top])
        axes.yaxis.set_major_formatter("{x:.2g}")
    else:
        axes.margins(y=0.15)
    if chance is not None and top is not None:
        axes.axhline(chance, color=MUTED, linewidth=1.2, linestyle=(0, (1, 2)), zorder=1)


def few_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Ticks where there is data, thinned out to what a phone has room for."""
    every = -(-len(values) // 6)
    axes.set_xticks(values[::every], [f"{value:,.10g}" for value in values[::every]])


def byte_ticks(axis: Axis, low: float, high: float) -> None:
    """Powers of two with their unit, at most six of them."""
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    every = max(1, -(-(last - first + 1) // 6))
    ticks = [2.0**power for power in range(first, last + 1, every)]
    axis.set_ticks(ticks, [bytes_text(tick) for tick in ticks])


def score_name(groups: Sequence[Group]) -> str:
    metric = groups[0].first.score_metric
    if metric != "loss":
        return metric
    return "squared error" if groups[0].first.predicts_numbers else "loss, nats per token"


def chance_note(record: Record) -> str:
    """What the dotted line of :func:`score_axis` is."""
    return "" if record.chance is None else f" Dotted: chance, {score_text(record.chance)}."


def in_words(lines: Mapping[str, Mapping[str, Estimate]]) -> str:
    """A chart in words."""
    return "; ".join(
        f"{label}: " + ", ".join(f"{score_text(e.mean)} at {value}" for value, e in line.items())
        for label, line in lines.items()
    )


def leading_number(value: str) -> tuple[float, str]:
    """'17-64' -> 17; values without a number come last."""
    digits = "".join(takewhile(str.isdigit, value))
    return (float(digits) if digits else float("inf"), value)
