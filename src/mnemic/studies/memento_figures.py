"""The figures of the MEMENTO study: keys held while writing, accuracy with and without eviction, the probe."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from mnemic.report.axes import name_rows
from mnemic.report.figure import INK, MUTED, Chart, Style, canvas, finish, styles
from mnemic.report.kept_tokens import kept_tokens_chart
from mnemic.studies.memento_generation import Measured
from mnemic.studies.memento_runs import SizeOf

__all__ = ["figures"]

_NAMES = {
    ("stage 1", "full"): "stage 1, full attention",
    ("stage 1", "evicting"): "stage 1, evicting",
    ("stage 2", "evicting"): "stage 2, evicting",
    ("stage 2", "restart"): "stage 2, restarting",
    ("stage 2", "bare restart"): "… its markers dropped too",
    ("stage 2", "full"): "stage 2, full attention",
    ("control", "full"): "control, no mementos",
}


def figures(size: SizeOf, written: Measured, probe: Mapping[str, Any] | None) -> tuple[Chart, ...]:
    """Those that have something to show."""
    charts = [_kept(size.rounds[-1], written), *(_accuracies(written, m, size.rounds[0]) for m in ("lossy", "full"))]
    if probe:
        charts.append(_probe(probe))
    return tuple(chart for chart in charts if chart is not None)


def _kept(rounds: int, written: Measured) -> Chart | None:
    """One problem, as the model wrote it with eviction and without, and as the control did."""
    traces = {
        _NAMES[(stage, mode)]: of_seed[0].trace
        for ((of_rounds, memento, stage), mode), of_seed in written.items()
        if of_rounds == rounds
        and memento != "full"
        and mode in ("full", "evicting")
        and (stage, mode) != ("stage 1", "evicting")
    }
    return kept_tokens_chart("memento-kept", f"Keys held while writing {rounds} rounds", traces) if traces else None


def _accuracies(written: Measured, memento: str, rounds: int) -> Chart | None:
    found = {
        _NAMES[(stage, mode)]: [one.accuracy for one in of_seed]
        for ((of_rounds, said, stage), mode), of_seed in written.items()
        if of_rounds == rounds and said == memento
    }
    rows = [(name, found[name]) for name in _NAMES.values() if name in found]
    if not rows:
        return None
    what = "one bit of the state" if memento == "lossy" else "the whole state"
    title = f"Answers where mementos tell {what}"
    look = styles([name for name, _ in rows])
    note = "A mark per seed; the bar is their mean."
    return _dots(f"memento-{memento}", title, f"accuracy, {rounds} rounds", rows, look, note)


def _probe(probe: Mapping[str, Any]) -> Chart:
    names = {"-1": "the one before", "0": "the block's own", "1": "the next", "2": "the one after that"}
    rows = [(names.get(d, f"{d} later"), [score["accuracy"]]) for d, score in probe["by_distance"].items()]
    look = styles([name for name, _ in rows])
    title = "Digits of a block that a probe reads in mementos"
    return _dots("memento-probe", title, "accuracy", rows, look, "The dotted line is chance.", chance=0.1)


def _dots(
    name: str, title: str, heading: str, rows: list[tuple[str, list[float]]], look: Mapping[str, Style], note: str,
    chance: float | None = None,
) -> Chart:  # fmt: skip
    with canvas(60 + 24 * len(rows)) as figure:
        axes = figure.subplots()
        for row, (label, values) in enumerate(rows):
            axes.barh(row, fmean(values), color=look[label].colour, height=0.62, alpha=0.45)
            axes.plot(values, [row] * len(values), color=look[label].colour, linestyle="none", marker="o", markersize=4)
            axes.annotate(
                f"{fmean(values):.2f}", (max(values), row), xytext=(8, 0), textcoords="offset points",
                va="center_baseline", color=INK,
            )  # fmt: skip
        name_rows(axes, [label for label, _ in rows])
        axes.set_xlim(0, 1.15)
        axes.set_xticks([0, 0.5, 1])
        axes.set_title(heading)
        if chance is not None:
            axes.axvline(chance, color=MUTED, linewidth=1.2, linestyle=(0, (1, 2)), zorder=1)
        told = "; ".join(f"{label} {fmean(values):.3f}" for label, values in rows)
        svg = finish(figure, name, title, told)
    return Chart(title, svg, (), note)
