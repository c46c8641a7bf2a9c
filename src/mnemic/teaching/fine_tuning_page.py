"""report.html of a fine-tuning: its stages and their learning curves, in one file that needs nothing else."""

from collections.abc import Sequence

from mnemic.report.cost_charts import learning_curves
from mnemic.report.document import document
from mnemic.report.figure import styles, swatch
from mnemic.report.html import chart_card
from mnemic.report.markup import Html, join, tag
from mnemic.report.records import Record
from mnemic.report.summary import group_runs
from mnemic.report.units import bytes_text

__all__ = ["fine_tuning_page"]

_MEANING = {
    "full": "nothing is hidden: the form is learned",
    "memento": "summarised blocks are hidden: the model learns to do without them",
    "restart": "mementos are read again without their blocks",
    "plain": "the control: raw traces, no mementos",
    "mixed": "notes and answers, notes alone, and answers alone",
    "summary+answer": "a note and then the answer, where the row has a note",
    "summary": "the note alone, where the row has one",
    "answer": "the control: the answer alone, of the same rows",
}
_TITLES = (
    "stage",
    "what is taught",
    "rows",
    "steps",
    "best at",
    "held-out loss",
    "training",
    "tokens/s",
    "peak memory",
)


def fine_tuning_page(records: Sequence[Record], title: str) -> Html:
    """The document; one record per stage, in order."""
    look = styles([record.memory for record in records])
    chart = learning_curves("stages", group_runs(list(records)), look)
    rows = [
        tag(
            "tr",
            tag("th", swatch(look[record.memory]), record.memory, scope="row"),
            [tag("td", t) for t in _row(record)],
        )
        for record in records
    ]
    header = tag("tr", [tag("th", name, scope="col") for name in _TITLES])
    table = tag("table", tag("thead", header), tag("tbody", rows), class_="results")
    section = tag(
        "section",
        tag("h2", "Stages"),
        tag("p", "Each stage starts from the best evaluation of the one before.", class_="finding")
        if len(records) > 1
        else None,
        tag("div", table, class_="scroll", role="region", aria_label="Stages", tabindex=0),
        tag("div", chart_card(chart, look), class_="charts") if chart is not None else None,
        tag("h2", "Settings"),
        tag("div", [_settings(record) for record in records]),
    )
    command = tag("section", tag("h2", "How to repeat it"), tag("pre", records[-1].command)) if records else None
    return document(
        title, tag("header", tag("h1", title)), section, command if records and records[-1].command else None
    )


def _row(record: Record) -> list[str]:
    training, cost = record.training, record.cost
    loss = record.metrics.get("loss")
    best = next((point.step for point in record.curve if point.valid_loss == loss), None)
    return [
        _MEANING.get(str(training.get("attention") or training.get("target")), ""),
        f"{training.get('rows', 0):,}",
        f"{training.get('steps', 0):,}",
        "–" if best is None else f"{best:,}",
        "–" if loss is None else f"{loss:.4f}",
        "–" if cost.train_seconds is None else f"{cost.train_seconds:,.1f} s",
        "–" if cost.train_tokens_per_second is None else f"{cost.train_tokens_per_second:,.0f}",
        "–" if cost.peak_memory_bytes is None else bytes_text(cost.peak_memory_bytes),
    ]


def _settings(record: Record) -> Html:
    terms = [join(tag("dt", name.replace("_", " ")), tag("dd", str(value))) for name, value in record.training.items()]
    return tag("details", tag("summary", record.memory), tag("dl", terms))
