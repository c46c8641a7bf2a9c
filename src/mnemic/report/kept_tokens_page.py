"""The page of what a model held while it wrote: the saw-tooth of each prompt, and the figures beside full attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files

from mnemic.report.html import chart_card
from mnemic.report.kept_tokens import kept_tokens_chart
from mnemic.report.markup import Html, join, tag

__all__ = ["kept_tokens_page"]

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
    return join(
        Html("<!doctype html>\n"),
        tag(
            "html",
            tag(
                "head",
                tag("meta", charset="utf-8"),
                tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
                tag("meta", name="color-scheme", content="light dark"),
                tag("title", title),
                tag("style", Html(files("mnemic.report").joinpath("report.css").read_text("utf-8"))),
            ),
            tag(
                "body",
                tag("header", tag("h1", title), tag("p", summary, class_="finding")),
                tag(
                    "main",
                    tag("section", tag("h2", "Keys held"), tag("div", charts, class_="charts")),
                    tag(
                        "section",
                        tag("h2", "Figures"),
                        tag("div", table, class_="scroll", role="region", aria_label="Figures", tabindex=0),
                    ),
                ),
            ),
            lang="en",
        ),
    )
