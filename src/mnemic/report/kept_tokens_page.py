"""The page of what a model held while it wrote: the saw-tooth of each prompt, and the figures beside full attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mnemic.report.document import document
from mnemic.report.html import chart_card
from mnemic.report.kept_tokens import kept_tokens_chart
from mnemic.report.markup import Html, tag

__all__ = ["SOURCE", "kept_tokens_page"]

SOURCE = "measured.jsonl"
"""What the page is made from."""

_CHARTS = 8


def kept_tokens_page(
    title: str, summary: str, head: Sequence[str], rows: Sequence[Sequence[str]], traces: Mapping[str, Sequence[int]]
) -> Html:
    """A page that loads nothing.

    Args:
        summary: what is to be learnt from it, in a sentence.
        head, rows: the table.
        traces: by prompt, tokens held after each token that was fed; the first few are drawn.
    """
    charts = [
        chart_card(
            kept_tokens_chart(f"kept{n}", f"prompt {name}", {"evicting": trace, "full": range(1, len(trace) + 1)}), {}
        )
        for n, (name, trace) in enumerate(list(traces.items())[:_CHARTS])
    ]
    body = [tag("tr", tag("th", row[0], scope="row"), [tag("td", cell) for cell in row[1:]]) for row in rows]
    table = tag("table", tag("thead", tag("tr", [tag("th", name, scope="col") for name in head])), tag("tbody", body))
    return document(
        title,
        tag("header", tag("h1", title), tag("p", summary, class_="finding")),
        tag("section", tag("h2", "Keys held"), tag("div", charts, class_="charts")),
        tag(
            "section",
            tag("h2", "Figures"),
            tag("div", table, class_="scroll", role="region", aria_label="Figures", tabindex=0),
        ),
        source=SOURCE,
    )
