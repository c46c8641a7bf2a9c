"""The charts of one task's runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mnemic.report.cost_charts import learning_curves, learning_rates, memory_against_length, peak_memory, speed
from mnemic.report.figure import Chart, Style
from mnemic.report.method_charts import method_latency, recall_against_depth
from mnemic.report.recall_charts import (
    line_chart,
    loss_on_hits,
    score_against_length,
    score_against_memory,
    score_against_slice,
)
from mnemic.report.records import Record
from mnemic.report.summary import Group

__all__ = ["line_chart", "task_charts"]


def task_charts(
    name: str, groups: Sequence[Group], records: Sequence[Record], look: Mapping[str, Style]
) -> list[Chart]:
    """All charts of one task that have data; what holds nothing to draw is left out.

    Args:
        name: unique in the page, for the ids inside the drawings.
        records: all runs of the task, those of the search for a learning rate among them.
        look: a style for each group's label.
    """
    if not groups:
        return []
    slices = dict.fromkeys(name for group in groups for record in group.records for name in record.slices)
    charts = [
        score_against_memory(f"{name}-memory", groups, look),
        loss_on_hits(f"{name}-hits", groups, look),
        *(score_against_slice(f"{name}-slice{i}", slice_, groups, look) for i, slice_ in enumerate(slices)),
        score_against_length(f"{name}-length", groups, look),
        memory_against_length(f"{name}-growth", groups, look),
        learning_curves(f"{name}-curves", groups, look),
        learning_rates(f"{name}-rates", groups, records, look),
        recall_against_depth(f"{name}-depth", groups, look),
        method_latency(f"{name}-latency", groups, look),
        speed(f"{name}-speed", groups, look),
        peak_memory(f"{name}-peak", groups, look),
    ]
    return [chart for chart in charts if chart is not None]
