"""The figures of the Zoology study: recall against width, against load, and against memory."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mnemic.report.charts import line_chart
from mnemic.report.figure import Chart, styles
from mnemic.report.records import Record
from mnemic.report.summary import Estimate, pool
from mnemic.studies.zoology_tradeoff import MEMORIES, tradeoff_runs

__all__ = ["gpu_figures", "laptop_figures"]

Lines = dict[str, dict[float, Estimate]]


def laptop_figures(runs: Mapping[str, Record]) -> tuple[Chart, ...]:
    """By the keys of `zoology.laptop_arms`."""
    by_width = _lines(runs, ("A attention", "A long"), "width")
    by_load = _lines(runs, ("B attention", "B state"), "pairs")
    by_memory = _tradeoff(runs)
    return _charts(
        _chart("zoology-width", "A. Recall against width", by_width, "width of the model"),
        _chart("zoology-load", "B. Recall against load", by_load, "pairs to remember"),
        _chart("zoology-memory", "E. Recall against memory", by_memory, "bytes held per sequence", in_bytes=True),
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
            estimate = _estimate(record) if start == family and number.isdigit() else None
            if estimate is not None:
                x = float(record.shell["width"] if axis == "width" else record.task_config["pairs"])
                lines.setdefault(record.memory, {})[x] = estimate
    return lines


def _tradeoff(runs: Mapping[str, Record]) -> Lines:
    """One line per mixer, its widths from left to right."""
    lines: Lines = {}
    for name, of_width in tradeoff_runs(runs).items():
        for record in of_width.values():
            held, estimate = record.cost.memory_bytes, _estimate(record)
            if held is not None and estimate is not None:
                lines.setdefault(MEMORIES[name], {})[float(held)] = estimate
    return lines


def _estimate(record: Record) -> Estimate | None:
    value = record.metrics.get("accuracy")
    if value is None:
        return None
    return pool([(value, record.metrics.get("accuracy_low"), record.metrics.get("accuracy_high"))], 1.0)


def _chart(name: str, title: str, lines: Lines, x_label: str, *, in_bytes: bool = False) -> Chart | None:
    look = styles(list(lines))
    chart = line_chart(name, title, lines, look, x_label=x_label, y_label="accuracy", log_x=True, x_in_bytes=in_bytes)
    return None if chart is None else replace(chart, look=look)


def _charts(*charts: Chart | None) -> tuple[Chart, ...]:
    return tuple(chart for chart in charts if chart is not None)
