"""Charts of recall methods alone: recall against how many passages are looked at, and how long a method takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mnemic.report.cost_charts import bars
from mnemic.report.figure import Chart, Style
from mnemic.report.recall_charts import line_chart
from mnemic.report.summary import Estimate, Group
from mnemic.report.units import latency_text, seconds_text

__all__ = ["method_latency", "recall_against_depth"]

_PREFIX = "recall@"


def recall_against_depth(name: str, groups: Sequence[Group], look: Mapping[str, Style]) -> Chart | None:
    lines: dict[str, dict[float, Estimate]] = {}
    for group in (group for group in groups if group.first.recalls):
        depths = sorted(int(m.removeprefix(_PREFIX)) for m in group.first.metrics if _is_depth(m))
        found = {float(k): group.metric(f"{_PREFIX}{k}") for k in depths}
        lines[group.label] = {k: estimate for k, estimate in found.items() if estimate is not None}
    return line_chart(
        name, "Recall against depth", lines, look, x_label="passages, or sessions, that are looked at",
        y_label="share of the evidence that is among them", log_x=True,
    )  # fmt: skip


def method_latency(name: str, groups: Sequence[Group], look: Mapping[str, Style]) -> Chart | None:
    panels = {
        "read_seconds": ("to recall ten passages, median", latency_text),
        "write_seconds": ("to add one passage, median", latency_text),
        "build_seconds": ("to build the store", seconds_text),
    }
    rows = [(t, write, [(g, v) for g in groups if (v := g.cost(cost))]) for cost, (t, write) in panels.items()]
    return bars(name, "Time of a method", rows, look, "Shorter is better. Embedding is included.")


def _is_depth(metric: str) -> bool:
    return metric.startswith(_PREFIX) and metric.removeprefix(_PREFIX).isdigit()
