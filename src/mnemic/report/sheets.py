"""A study's own tables: what it measured, arm by arm, for the terminal, the page and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from mnemic.report.markup import Html, tag

__all__ = ["Sheet", "sheet_html", "sheet_table", "sheets_json"]


@dataclass(frozen=True)
class Sheet:
    """
    Attributes:
        head: names of the columns; the first is that of the rows.
        rows: as wide as the head, finished text; what stands on a second line is printed small.
        note: how to read it.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def sheet_table(sheet: Sheet) -> Table:
    """For the terminal."""
    table = Table(
        box=SIMPLE_HEAD, title=Text(sheet.title), title_justify="left", caption=Text(sheet.note),
        caption_justify="left", pad_edge=False, padding=(0, 0 if len(sheet.head) > 6 else 1, 0, 0),
    )  # fmt: skip
    for number, name in enumerate(sheet.head):
        # numbers break between words and never inside them
        least = max((len(word) for row in sheet.rows for word in row[number].split()), default=1)
        table.add_column(Text(name), justify="right" if number else "left", min_width=least)
    for row in sheet.rows:
        table.add_row(*map(Text, row))
    return table


def sheet_html(sheet: Sheet) -> Html:
    """For the page."""
    head = tag("tr", [tag("th", name, scope="col") for name in sheet.head])
    rows = [tag("tr", tag("th", row[0], scope="row"), [_cell(cell) for cell in row[1:]]) for row in sheet.rows]
    table = tag("table", tag("thead", head), tag("tbody", rows), class_="results")
    return tag(
        "section",
        tag("h3", sheet.title),
        tag("div", table, class_="scroll", role="region", aria_label=sheet.title, tabindex=0),
        tag("p", sheet.note, class_="note") if sheet.note else None,
    )


def sheets_json(sheets: Sequence[Sheet]) -> list[dict[str, Any]]:
    """Cells on one line."""
    return [
        {**asdict(sheet), "rows": [[" ".join(cell.splitlines()) for cell in row] for row in sheet.rows]}
        for sheet in sheets
    ]


def _cell(text: str) -> Html:
    value, _, below = text.partition("\n")
    return tag("td", tag("span", tag("span", value, class_="value"), tag("small", below) if below else None))
