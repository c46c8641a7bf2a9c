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
    by_width = _lines(runs, ("A attention", "A long"), "width")
    by_load = _lines(runs, ("B attention", "B state"), "pairs")
    return _charts(
        _chart("zoology-width", "A. Recall against width", by_width, "width of the model"),
        _chart("zoology-load", "B. Recall against load", by_load, "pairs to remember"),
    )


def gpu_figures(runs: Mapping[str, Record]) -> tuple[Chart, ...]:
    """By the keys of `zoology.gpu_arms`."""
    mixers = list(dict.fromkeys(key.rpartition(" ")[0] for key in runs))
    return _charts(_chart("zoology-width", "Recall against width", _lines(runs, mixers, "width"), "width of the model"))


def _lines(runs: Mapping[str, Record], families: Sequence[str], axis: str) -> Lines:
    """The runs "<family> <number>" as lines; runs that failed leave a gap."""
    lines: Lines = {}
    for family in families:
        for key, record in runs.items():
            start, _, number = key.rpartition(" ")
            value = record.metrics.get("accuracy")
            if start == family and number.isdigit() and value is not None:
                x = float(record.shell["width"] if axis == "width" else record.task_config["pairs"])
                interval = (value, record.metrics.get("accuracy_low"), record.metrics.get("accuracy_high"))
                estimate = pool([interval], 1.0)
                if estimate is not None:
                    lines.setdefault(record.memory, {})[x] = estimate
    return lines


def _chart(name: str, title: str, lines: Lines, x_label: str) -> Chart | None:
    look = styles(list(lines))
    chart = line_chart(name, title, lines, look, x_label=x_label, y_label="accuracy", log_x=True)
    return None if chart is None else replace(chart, look=look)


def _charts(*charts: Chart | None) -> tuple[Chart, ...]:
    return tuple(chart for chart in charts if chart is not None)
