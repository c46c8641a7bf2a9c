"""`mnemic teach memento validate`: does a file of traces keep its promises?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnemic.errors import MnemicError

if TYPE_CHECKING:
    from mnemic.teaching.validation import ValidationReport

__all__ = ["command", "print_report", "show"]

_EXAMPLES = 5


@click.command("validate")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--tokens", metavar="TOKENIZER", help="tokenizer.json or model that counts; by rule if none is named.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(file: Path, tokens: str | None, as_json: bool) -> None:
    """Check every line of FILE, a .jsonl of traces, and show what it holds.

    Exit code 1 if a line is no valid trace: markers inside a text, a memento without its block, an id that comes twice.
    What a build left out is counted with its reasons, from the file FILE.rejected.jsonl beside it.
    """
    from mnemic.teaching.records import TRACE

    show(file, tokens, as_json, TRACE)


def show(file: Path, tokens: str | None, as_json: bool, schema: str) -> None:
    """Validate a file of records of one kind and print what came of it."""
    from mnemic.teaching.tokens import token_counter
    from mnemic.teaching.validation import validate

    report = validate(file, token_counter(tokens), schema)
    if as_json:
        click.echo(json.dumps(report.model_dump(mode="json"), ensure_ascii=False))
    else:
        print_report(report)
    for problem in report.examples[:_EXAMPLES]:
        click.echo(f"{problem.code}: {problem.message}", err=True)
    if not report.is_valid:
        raise MnemicError(f"{sum(report.problems.values())} of {report.rows} lines of '{file}' are not valid")


def print_report(report: ValidationReport) -> None:
    """Counts, problems, reasons and histograms on stdout."""
    from rich.console import Console
    from rich.table import Table

    from mnemic.teaching.records import TRACE

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=report.path, title_justify="left")
    for head in ("", "n", "min", "median", "mean", "max", "from 0 up"):
        table.add_column(head, justify="left" if head in ("", "from 0 up") else "right")
    table.add_row("usable traces" if report.schema_ == TRACE else "usable rows", f"{report.ok:,}")
    for kind, count in report.kinds.items():
        table.add_row(f"  {kind}", f"{count:,}")
    table.add_row("failed records", f"{report.failed:,}")
    for code, count in report.problems.items():
        table.add_row(f"problem: {code}", f"{count:,}")
    for reason, count in report.dropped.items():
        table.add_row(f"left out: {reason}", f"{count:,}")
    for name, histogram in report.histograms.items():
        form = "{:.2f}" if name == "ratio" else "{:,.0f}"
        figures = (histogram.min, histogram.median, histogram.mean, histogram.max)
        said = ["–" if figure is None else form.format(figure) for figure in figures]
        unit = "" if name in ("ratio", "blocks per trace") else " tokens"
        table.add_row(f"{name}{unit}", f"{histogram.n:,}", *said, histogram.bars())
    console.print(table)
    console.print(f"tokens counted by {report.tokens_by} where the record does not say", style="dim", soft_wrap=True)
