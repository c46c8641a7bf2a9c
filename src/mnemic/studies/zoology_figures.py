"""The figures of the Zoology study: recall against width, and against load."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mnemic.report.charts import line_chart
from mnemic.report.figure import Chart, styles
from mnemic.report.records import Record
from mnemic.report.summary import Estimate, pool

__all__ = ["gpu_figures", "laptop_figures"]

Lines = dict[str, dict[float, Estimate]]


def laptop_figures(runs: Mapping[str, Record]) -> tuple[Chart, ...]:
    """By the keys of `zoology.laptop_arms`."""
    by_width = _by_width(runs, ("A attention", "A long"))
    by_load = {
        record.memory: {
            float(point.value): estimate
            for point in record.slices.get("pairs", ())
            if (estimate := _estimate(point.accuracy, point.low, point.high)) is not None
        }
        for record in (runs["B attention"], runs["B state"])
    }
    return _charts(
        _chart("zoology-width", "A. Recall against width", by_width, "width of the model"),
        _chart("zoology-load", "B. Recall against load", by_load, "pairs to remember"),
    )


def gpu_figures(runs: Mapping[str, Record]) -> tuple[Chart, ...]:
    """By the keys of `zoology.gpu_arms`."""
    mixers = list(dict.fromkeys(key.rpartition(" ")[0] for key in runs))
    return _charts(_chart("zoology-width", "Recall against width", _by_width(runs, mixers), "width of the model"))


def _by_width(runs: Mapping[str, Record], families: Sequence[str]) -> Lines:
    """The runs "<family> <width>" as lines; runs that failed leave a gap."""
    lines: Lines = {}
    for family in families:
        for key, record in runs.items():
            start, _, width = key.rpartition(" ")
            metrics = record.metrics
            estimate = _estimate(*(metrics.get(name) for name in ("accuracy", "accuracy_low", "accuracy_high")))
            if start == family and width.isdigit() and estimate is not None:
                lines.setdefault(record.memory, {})[float(width)] = estimate
    return lines


def _estimate(value: float | None, low: float | None, high: float | None) -> Estimate | None:
    return None if value is None else pool([(value, low, high)], 1.0)


def _chart(name: str, title: str, lines: Lines, x_label: str) -> Chart | None:
    look = styles(list(lines))
    chart = line_chart(name, title, lines, look, x_label=x_label, y_label="accuracy", log_x=True)
    return None if chart is None else replace(chart, look=look)


def _charts(*charts: Chart | None) -> tuple[Chart, ...]:
    return tuple(chart for chart in charts if chart is not None)
