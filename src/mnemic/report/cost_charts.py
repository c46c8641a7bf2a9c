"""Charts of what memories cost: bytes against length, learning, speed and peak memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import TypeAlias

from mnemic.report.axes import byte_ticks, chance_note, few_ticks, name_rows, score_axis
from mnemic.report.figure import INK, Chart, Style, canvas, finish, marks
from mnemic.report.records import Record
from mnemic.report.summary import Group
from mnemic.report.units import bytes_text, count_text, rate_text, score_text, seconds_text

__all__ = ["bars", "learning_curves", "learning_rates", "memory_against_length", "peak_memory", "speed"]

Styles = Mapping[str, Style]
Panel: TypeAlias = tuple[str, Callable[[float], str], list[tuple[Group, float]]]


def memory_against_length(name: str, groups: Sequence[Group], look: Styles) -> Chart | None:
    shown = {g.label: at for g in groups if len(at := g.first.cost.memory_bytes_at) > 1 and all(at.values())}
    if not shown:
        return None
    with canvas() as figure:
        axes = figure.subplots()
        for label, at in shown.items():
            axes.plot(sorted(at), [at[length] for length in sorted(at)], **marks(look[label]))
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        few_ticks(axes, sorted({length for at in shown.values() for length in at}))
        byte_ticks(axes.yaxis, *axes.get_ylim())
        axes.set(title="bytes held per sequence", xlabel="tokens in the sequence")
        told = "; ".join(
            label + ": " + ", ".join(f"{bytes_text(at[n])} at {n}" for n in sorted(at)) for label, at in shown.items()
        )
        svg = finish(figure, name, "Memory against length", told)
    return Chart(
        "Memory against length", svg, tuple(shown), "Flat: a state of fixed size. Rising: every token is kept."
    )


def learning_curves(name: str, groups: Sequence[Group], look: Styles) -> Chart | None:
    is_answers = any(p.valid_accuracy is not None for g in groups for r in g.records for p in r.curve)
    metric = "valid_accuracy" if is_answers else "valid_loss"
    curves = [
        (group.label, [(p.step, getattr(p, metric)) for p in record.curve if getattr(p, metric) is not None])
        for group in groups
        for record in group.records
    ]
    curves = [(label, curve) for label, curve in curves if len(curve) > 1]
    if not curves:
        return None
    ends: dict[str, list[float]] = {}
    with canvas() as figure:
        axes = figure.subplots()
        for label, curve in curves:
            style = look[label]
            axes.plot(*zip(*curve, strict=True), color=style.colour, linewidth=1.5, alpha=0.8)
            axes.plot(*curve[-1], **marks(style))
            ends.setdefault(label, []).append(curve[-1][1])
        score_axis(axes, 1.0 if is_answers else None, groups[0].first.chance if is_answers else None)
        axes.set(title=f"{'accuracy' if is_answers else 'loss'} on validation data", xlabel="steps")
        told = "; ".join(f"{label} ends at {', '.join(score_text(e) for e in end)}" for label, end in ends.items())
        svg = finish(figure, name, "Learning curves", told)
    note = "One line per seed, with a mark where its training ended."
    return Chart("Learning curves", svg, tuple(ends), note + (chance_note(groups[0].first) if is_answers else ""))


def learning_rates(name: str, groups: Sequence[Group], records: Sequence[Record], look: Styles) -> Chart | None:
    """What the search over learning rates saw; it used validation data only."""
    metric = "accuracy" if groups[0].first.asks_for_answers else "loss"
    by_memory = {group.first.memory: group.label for group in groups}
    found: dict[str, dict[float, list[float]]] = {}
    for record in records:
        value = record.metrics.get(metric)
        if record.purpose == "search" and record.memory in by_memory and record.lr and value is not None:
            found.setdefault(by_memory[record.memory], {}).setdefault(record.lr, []).append(value)
    rates = sorted({lr for line in found.values() for lr in line})
    if len(rates) < 2:
        return None
    with canvas() as figure:
        axes = figure.subplots()
        for label, line in found.items():
            axes.plot(sorted(line), [fmean(line[lr]) for lr in sorted(line)], **marks(look[label]))
        axes.set_xscale("log")
        axes.set_xticks(rates, [f"{lr:g}" for lr in rates])
        score_axis(axes, 1.0 if metric == "accuracy" else None, groups[0].first.chance)
        axes.set(title=f"{metric} on validation data", xlabel="learning rate")
        told = "; ".join(f"{label}: " + ", ".join(f"{lr:g}" for lr in sorted(line)) for label, line in found.items())
        svg = finish(figure, name, "Choosing the learning rate", told)
    return Chart(
        "Choosing the learning rate", svg, tuple(found), "The best on validation data was used for the final runs."
    )


def speed(name: str, groups: Sequence[Group], look: Styles) -> Chart | None:
    panels = {
        "training": "train_tokens_per_second",
        "reading whole sequences": "tokens_per_second",
        "decoding one by one": "decode_tokens_per_second",
    }
    rows = [(title, rate_text, [(g, v) for g in groups if (v := g.cost(cost))]) for title, cost in panels.items()]
    return bars(name, "Tokens per second", rows, look, "Longer is better.")


def peak_memory(name: str, groups: Sequence[Group], look: Styles) -> Chart | None:
    panels = {
        "peak_memory_bytes": ("peak memory of training", bytes_text),
        "train_seconds": ("time to train", seconds_text),
        "parameters": ("parameters", count_text),
    }
    rows = [(t, write, [(g, v) for g in groups if (v := g.cost(cost))]) for cost, (t, write) in panels.items()]
    return bars(name, "Peak memory, training time, size", rows, look, "Shorter is better.")


def bars(name: str, title: str, panels: Sequence[Panel], look: Styles, note: str) -> Chart | None:
    """Bars from zero, one panel per cost, the number at the end of each bar."""
    panels = [panel for panel in panels if panel[2]]
    if not panels:
        return None
    heights = [len(rows) * 20 + 26 for _, _, rows in panels]
    with canvas(sum(heights) + 8) as figure:
        grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
        for axes, (heading, write, rows) in zip(grid[:, 0], panels, strict=True):
            axes.barh(
                range(len(rows)), [v for _, v in rows], color=[look[g.label].colour for g, _ in rows], height=0.62
            )
            for row, (_, value) in enumerate(rows):
                axes.annotate(
                    write(value),
                    (value, row),
                    xytext=(5, 0),
                    textcoords="offset points",
                    va="center_baseline",
                    color=INK,
                )
            name_rows(axes, [g.label for g, _ in rows])
            axes.set_xlim(0, max(value for _, value in rows) * 1.25)
            axes.xaxis.set_visible(False)
            axes.spines["bottom"].set_visible(False)
            axes.set_title(heading)
        told = "; ".join(f"{t}: " + ", ".join(f"{g.label} {w(v)}" for g, v in rows) for t, w, rows in panels)
        svg = finish(figure, name, title, told)
    return Chart(title, svg, (), note)
