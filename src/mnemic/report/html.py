"""report.html: the whole comparison in one file that needs no network, no script and no other file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mnemic.report.charts import task_charts
from mnemic.report.claims import Claim
from mnemic.report.columns import columns_for
from mnemic.report.details import how_to_reproduce, run_details
from mnemic.report.document import document, write_document
from mnemic.report.figure import Chart, Style, styles, swatch
from mnemic.report.findings import by_task, headline, leaders, warnings_about
from mnemic.report.mad_score import mad_sheet
from mnemic.report.markup import Html, join, tag
from mnemic.report.records import Record
from mnemic.report.sheets import Sheet, sheet_html
from mnemic.report.summary import Estimate, Group, group_runs

__all__ = ["chart_card", "claims_section", "page", "write_report"]


def write_report(
    records: Sequence[Record],
    path: Path,
    title: str,
    *,
    claims: Sequence[Claim] = (),
    figures: Sequence[Chart] = (),
    sheets: Sequence[Sheet] = (),
) -> None:
    """Write the page of these runs, and of a study's claims, figures and tables where there are any.

    The file appears whole or not at all, and an older one stays until then.

    Raises:
        MnemicError: the folder cannot be written, or the disk is full.
    """
    write_document(page(records, title, claims=claims, figures=figures, sheets=sheets), path)


def page(
    records: Sequence[Record],
    title: str,
    *,
    claims: Sequence[Claim] = (),
    figures: Sequence[Chart] = (),
    sheets: Sequence[Sheet] = (),
) -> Html:
    """The document as a string."""
    tasks = by_task(records)
    groups = {task: group_runs(runs) for task, runs in tasks.items()}
    look = styles([group.label for of_task in groups.values() for group in of_task])
    return document(
        title,
        _header(title, tasks, groups),
        claims_section(claims, figures, look, sheets) if claims or figures else None,
        _mad_section(records),
        [_task_section(f"task{i}", task, runs, groups[task], look) for i, (task, runs) in enumerate(tasks.items())],
        how_to_reproduce(records),
    )


def claims_section(
    claims: Sequence[Claim],
    figures: Sequence[Chart] = (),
    look: dict[str, Style] | None = None,
    sheets: Sequence[Sheet] = (),
) -> Html:
    """A study's claims, each with its verdict, and the study's own figures and tables."""
    held = sum(claim.holds for claim in claims)
    head = tag("tr", [tag("th", name, scope="col") for name in ("claim", "published", "measured", "asked", "verdict")])
    rows = [
        tag(
            "tr",
            tag("th", claim.text, scope="row", class_="claim"),
            tag("td", claim.published),
            tag("td", tag("strong", claim.seen)),
            tag("td", claim.threshold),
            tag(
                "td",
                tag(
                    "span",
                    "✓ holds" if claim.holds else "✗ does not hold",
                    class_=f"verdict {'yes' if claim.holds else 'no'}",
                ),
            ),
        )
        for claim in claims
    ]
    return tag(
        "section",
        tag("h2", "Claims"),
        tag("p", f"{held} of {len(claims)} claims hold.", class_="finding") if claims else None,
        _scrolling(tag("table", tag("thead", head), tag("tbody", rows), class_="claims"), "Claims") if claims else None,
        tag("div", [chart_card(figure, look or {}) for figure in figures], class_="charts") if figures else None,
        [sheet_html(sheet) for sheet in sheets],
        id="claims",
    )


def _mad_section(records: Sequence[Record]) -> Html | None:
    sheet = mad_sheet(records)
    return None if sheet is None else tag("section", tag("h2", "MAD"), sheet_html(sheet), id="mad")


def chart_card(chart: Chart, look: dict[str, Style]) -> Html:
    """A chart with its title, legend and reading aid."""
    known = {**look, **chart.look}
    legend = [tag("li", swatch(known[label]), label) for label in chart.labels if label in known]
    return tag(
        "figure",
        tag("figcaption", tag("h3", chart.title)),
        tag("ul", legend, class_="legend") if legend else None,
        chart.svg,
        tag("p", chart.note, class_="note") if chart.note else None,
    )


def _header(title: str, tasks: dict[str, list[Record]], groups: dict[str, list[Group]]) -> Html:
    links = [tag("li", tag("a", task, href=f"#task{i}")) for i, task in enumerate(tasks)]
    memories = dict.fromkeys(group.label for of_task in groups.values() for group in of_task)
    runs = sum(len(group.records) for of_task in groups.values() for group in of_task)
    counted = (
        f"{_counted(len(memories), 'memory', 'memories')} · {_counted(len(tasks), 'task')} · {_counted(runs, 'run')}"
    )
    return tag(
        "header",
        tag("p", _mark(), "mnemic", tag("span", "what it recalled, what it cost"), class_="brand"),
        tag("h1", title),
        tag("p", counted, class_="counted"),
        tag("nav", tag("ul", links), aria_label="Tasks") if len(tasks) > 1 else None,
    )


def _task_section(name: str, task: str, records: Sequence[Record], groups: list[Group], look: dict[str, Style]) -> Html:
    family, _, options = task.partition(":")
    charts = task_charts(name, groups, records, look)
    notes = warnings_about(records)
    return tag(
        "section",
        tag("h2", tag("span", family), tag("code", options) if options else None),
        tag("p", _unbroken(headline(groups)), class_="finding"),
        tag("ul", [tag("li", note) for note in notes], class_="warnings") if notes else None,
        _results(groups, look) if groups else None,
        tag("div", [chart_card(chart, look) for chart in charts], class_="charts"),
        run_details(records, groups, look),
        id=name,
    )


def _results(groups: list[Group], look: dict[str, Style]) -> Html:
    first, seeds = leaders(groups), {len(group.records) for group in groups}
    columns = [column for column in columns_for(groups) if column.title != "seeds" or len(seeds) > 1]
    head = tag("tr", tag("th", "memory", scope="col"), [tag("th", c.title, scope="col", title=c.help) for c in columns])
    rows = []
    for group in groups:
        cells = []
        for column in columns:
            value, interval = column.text(group)
            score = column.read(group) if column.is_score else None
            bar = _bar(score, look[group.label]) if isinstance(score, Estimate) else None
            below = tag("small", interval) if interval else None
            number = tag("span", tag("span", value or "–", class_="value"), below)
            cells.append(tag("td", tag("div", bar, number, class_="scored") if bar else number))
        name = tag("th", tag("span", swatch(look[group.label]), tag("span", group.label), class_="memory"), scope="row")
        rows.append(tag("tr", name, cells, class_="best" if group in first else None))
    table = tag("table", tag("thead", head), tag("tbody", rows), class_="results")
    legend = "Bold: best, or not told apart from the best by the 95 % intervals in small print."
    if any(group.beside_best is not None for group in groups):
        legend = "Bold: best, or not told apart from it question by question. Small print: 95 % intervals."
    if seeds != {1}:
        counted = f"{min(seeds)} seeds" if len(seeds) == 1 else "seeds"
        legend += f" Numbers are means over {counted}; the intervals cover seeds and test examples."
    return join(_scrolling(table, "Results"), tag("p", legend, class_="note"))


def _unbroken(text: str) -> str:
    """Keep a number and its unit on one line."""
    return re.sub(r"(?<=\d) (?=[KMGT]?i?B\b|%)", "\u00a0", text)


def _bar(score: Estimate, style: Style) -> Html:
    """An accuracy and its interval on a scale from 0 to 1, drawn small."""
    track = tag("rect", x=0, y=4, width=100, height=2, rx=1, class_="track")
    low, width = 100 * score.low, max(100 * (score.high - score.low), 1.5)
    span = tag("rect", x=f"{low:.2f}", y=2, width=f"{width:.2f}", height=6, rx=2, fill=style.variable, opacity="0.35")
    dot = tag("circle", cx=f"{100 * score.mean:.2f}", cy=5, r=3, fill=style.variable)
    return tag("svg", track, span, dot, class_="bar", viewBox="-4 0 108 10", aria_hidden="true")


def _scrolling(table: Html, name: str) -> Html:
    """A box that scrolls sideways by itself; with the keyboard too."""
    return tag("div", table, class_="scroll", role="region", aria_label=name, tabindex=0)


def _mark() -> Html:
    """Three traces that fade: what a memory is."""
    bars = [
        tag("rect", x=0, y=2 + 6 * i, width=20 - 6 * i, height=3, rx="1.5", opacity=f"{1 - 0.3 * i}") for i in range(3)
    ]
    return tag("svg", bars, viewBox="0 0 20 20", class_="mark", aria_hidden="true")


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
