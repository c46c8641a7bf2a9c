"""Charts of what was recalled: against memory, distance, load and length, and on the recall hits of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mnemic.report.axes import (
    byte_ticks,
    chance_note,
    few_ticks,
    in_words,
    leading_number,
    name_rows,
    score_axis,
    score_name,
)
from mnemic.report.figure import INK, MUTED, SURFACE, Chart, Style, canvas, finish, marks, points, short
from mnemic.report.summary import Estimate, Group
from mnemic.report.units import bytes_text, score_text

__all__ = ["line_chart", "loss_on_hits", "score_against_length", "score_against_memory", "score_against_slice"]

Styles = Mapping[str, Style]
_SLICES = {  # name of a slice -> title of its chart, what its values are
    "distance": ("distance", "tokens since the answer was last seen"),
    "load": ("load", "facts stored before the question"),
    "pairs": ("load, in pairs", "pairs stored in the sequence"),
    "kind": ("kind of question", "kind of question, as the data names it"),
    "age_rank": ("age", "rank of the asked fact by age"),
}


def score_against_memory(name: str, groups: Sequence[Group], look: Styles) -> Chart | None:
    shown = [(g, g.score, held) for g in groups if g.score is not None and (held := g.held)]
    if not shown:
        return None
    first = shown[0][0].first
    title = "Recall against memory" if first.asks_for_answers else "Loss against memory"
    with canvas() as figure:
        axes = figure.subplots()
        for group, score, held in shown:
            points(axes, look[group.label], [held], [score.mean], [(score.low, score.high)])
        bits = first.information_bits or 0.0
        if not all(2**-20 < bits / 8 / held < 2**20 for _, _, held in shown):
            bits = 0.0  # so far away that the marks would shrink into a corner
        if bits:
            axes.axvline(bits / 8, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
            axes.annotate(
                f"{bits:,.0f} bits to remember", (bits / 8, 0.62), xycoords=("data", "axes fraction"),
                xytext=(6, 0), textcoords="offset points", color=MUTED, va="center",
            )  # fmt: skip
        known = [held for _, _, held in shown] + ([bits / 8] if bits else [])
        axes.set_xscale("log", base=2)
        axes.set_xlim(min(known) / 2.2, max(known) * 1.8)
        byte_ticks(axes.xaxis, *axes.get_xlim())
        score_axis(axes, 1.0 if first.asks_for_answers else None, first.chance)
        axes.set(title=score_name(groups), xlabel=f"bytes held per {shown[0][0].held_for}")
        told = "; ".join(f"{g.label} {score_text(s.mean)} with {bytes_text(held)}" for g, s, held in shown)
        svg = finish(figure, name, title, told)
    least = (
        f" The dashed line is the least state that could answer every question: {bytes_text(bits / 8)}." if bits else ""
    )
    better = "Up and to the left is better." if first.asks_for_answers else "Down and to the left is better."
    return Chart(title, svg, tuple(g.label for g, _, _ in shown), better + least + chance_note(first))


def loss_on_hits(name: str, groups: Sequence[Group], look: Styles) -> Chart | None:
    shown = [
        (group, hit, rest)
        for group in groups
        if (hit := group.metric("recall_hit_loss")) is not None and (rest := group.metric("other_loss")) is not None
    ]
    if not shown:
        return None
    title = "Loss on recall hits and on the rest"
    with canvas(70 + 38 * len(shown)) as figure:
        axes = figure.subplots()
        for row, (group, hit, rest) in enumerate(shown):
            style = look[group.label]
            axes.plot([hit.mean, rest.mean], [row, row], color=style.colour, linewidth=1.4, alpha=0.55, zorder=2)
            for estimate, filled in ((hit, True), (rest, False)):
                axes.errorbar(
                    [estimate.mean], [row], xerr=([estimate.mean - estimate.low], [estimate.high - estimate.mean]),
                    linestyle="none", ecolor=style.colour, elinewidth=1.4,
                    markerfacecolor=style.colour if filled else SURFACE,
                    **(marks(style) | {"markeredgecolor": style.colour}),
                )  # fmt: skip
                axes.annotate(
                    score_text(estimate.mean), (estimate.mean, row), xytext=(0, 7), textcoords="offset points",
                    ha="center", va="bottom", color=INK,
                )  # fmt: skip
        name_rows(axes, [group.label for group, _, _ in shown])
        axes.margins(x=0.12)
        axes.set(xlabel="nats per token")
        told = "; ".join(f"{g.label} {score_text(h.mean)} on hits, {score_text(r.mean)} elsewhere" for g, h, r in shown)
        svg = finish(figure, name, title, told)
    note = "Filled: tokens that the context has shown before. Hollow: all others. Left is better."
    return Chart(title, svg, (), note)


def score_against_slice(name: str, slice_name: str, groups: Sequence[Group], look: Styles) -> Chart | None:
    if slice_name == "recall_hit":  # has a chart of its own
        return None
    metric = "accuracy" if groups[0].first.asks_for_answers else "loss"
    lines = {group.label: line for group in groups if (line := group.slice(slice_name, metric))}
    seen = {value for line in lines.values() for value in line}
    if metric == "loss" and slice_name == "distance":
        seen.discard("0")  # tokens that are no hits have no distance
    values = sorted(seen, key=leading_number)
    if len(values) < 2:
        return None
    what, axis = _SLICES.get(slice_name, (short(slice_name.replace("_", " ")),) * 2)
    title = f"{'Recall' if metric == 'accuracy' else 'Loss'} against {what}"
    with canvas() as figure:
        axes = figure.subplots()
        for number, (label, line) in enumerate(lines.items()):
            aside = (number - (len(lines) - 1) / 2) * min(
                0.09, 0.5 / len(lines)
            )  # so that intervals do not hide each other
            x = [i + aside for i, value in enumerate(values) if value in line]
            found = [line[value] for value in values if value in line]
            axes.plot(x, [e.mean for e in found], color=look[label].colour, zorder=2)
            points(axes, look[label], x, [e.mean for e in found], [(e.low, e.high) for e in found])
        every = -(-len(values) // 7)
        axes.set_xticks(range(0, len(values), every), [short(value) for value in values[::every]])
        axes.set_xlim(-0.4, len(values) - 0.6)
        score_axis(axes, 1.0 if metric == "accuracy" else None, groups[0].first.chance)
        axes.set(title=score_name(groups), xlabel=axis)
        svg = finish(figure, name, title, in_words(lines))
    return Chart(title, svg, tuple(lines), chance_note(groups[0].first).strip())


def score_against_length(name: str, groups: Sequence[Group], look: Styles) -> Chart | None:
    is_answers = groups[0].first.asks_for_answers
    found = {group.label: group.lengths("accuracy" if is_answers else "loss") for group in groups}
    lines = {label: {float(length): e for length, e in line.items()} for label, line in found.items()}
    if len({length for line in lines.values() for length in line}) < 2:
        return None
    return line_chart(
        name, f"{'Recall' if is_answers else 'Loss'} against length", lines, look, x_label="tokens in the sequence",
        y_label=score_name(groups), log_x=True, chance=groups[0].first.chance, top=1.0 if is_answers else None,
        note="One trained model each, read at other lengths than it was trained on.",
    )  # fmt: skip


def line_chart(
    name: str,
    title: str,
    lines: Mapping[str, Mapping[float, Estimate]],
    look: Styles,
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    x_in_bytes: bool = False,
    chance: float | None = None,
    top: float | None = 1.0,
    note: str = "",
) -> Chart | None:
    """Estimates over a number, one line per label: what a study draws its own figures with.

    Args:
        lines: label -> x -> estimate.
        top: the end of the y axis, which begins at 0; None fits the axis to the data.
    """
    lines = {label: line for label, line in lines.items() if line}
    if not lines:
        return None
    ticks = sorted({x for line in lines.values() for x in line})
    with canvas() as figure:
        axes = figure.subplots()
        for label, line in lines.items():
            x = sorted(line)
            axes.plot(x, [line[value].mean for value in x], color=look[label].colour, zorder=2)
            points(axes, look[label], x, [line[v].mean for v in x], [(line[v].low, line[v].high) for v in x])
        if log_x:
            axes.set_xscale("log", base=2)
        if x_in_bytes:
            byte_ticks(axes.xaxis, *axes.get_xlim())
        else:
            few_ticks(axes, ticks)
        score_axis(axes, top, chance)
        axes.set(title=y_label, xlabel=x_label)
        svg = finish(figure, name, title, in_words({k: {f"{x:g}": e for x, e in v.items()} for k, v in lines.items()}))
    return Chart(title, svg, tuple(lines), note)
