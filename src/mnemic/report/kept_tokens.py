"""The chart of how many tokens' keys a model holds while it writes: a saw-tooth where blocks leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mnemic.report.figure import Chart, canvas, finish, styles

__all__ = ["kept_tokens_chart"]


def kept_tokens_chart(name: str, title: str, traces: Mapping[str, Sequence[int]]) -> Chart:
    """Keys held after each token, one line per trace.

    Args:
        name: unique in the page, for the ids inside the drawing.
        traces: by label, tokens held after each token that was fed.
    """
    look = styles(list(traces))
    with canvas() as figure:
        axes = figure.subplots()
        for label, trace in traces.items():
            axes.plot(range(1, len(trace) + 1), trace, color=look[label].colour, linewidth=1.5)
            highest = max(range(len(trace)), key=trace.__getitem__)
            axes.plot(
                highest + 1, trace[highest], color=look[label].colour, marker=look[label].marker, markersize=7, zorder=3
            )
        axes.set_ylim(bottom=0)
        axes.set(title="tokens whose keys are held", xlabel="tokens read and written")
        told = "; ".join(
            f"{label}: at most {max(trace):,} over {len(trace):,} tokens" for label, trace in traces.items()
        )
        svg = finish(figure, name, title, told)
    peaks = ", ".join(f"{label} {max(trace):,}" for label, trace in traces.items())
    return Chart(title, svg, tuple(traces), f"The marks are the peaks: {peaks}.", look)
