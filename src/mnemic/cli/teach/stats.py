"""`mnemic teach memento stats`: what a file of traces holds, domain by domain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mnemic.teaching.statistics import TraceStats

__all__ = ["command"]

_COLUMNS = {
    "traces": ("traces", "{:,}"),
    "blocks": ("blocks", "{:g}"),
    "block_tokens": ("block tokens", "{:,.0f}"),
    "memento_tokens": ("memento tokens", "{:,.0f}"),
    "compression": ("shorter", "{:.1f}×"),
    "char_ratio": ("of chars", "{:.2f}"),
    "score": ("score", "{:.2f}"),
    "passed": ("≥ 8", "{:.0%}"),
}


@click.command("stats")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--tokens", metavar="TOKENIZER", help="tokenizer.json or model that counts; by rule if none is named.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(file: Path, tokens: str | None, as_json: bool) -> None:
    """Figures of FILE, a .jsonl of traces, domain by domain.

    Median blocks of a trace; mean tokens of a block and of a memento; how many times shorter mementos are than the
    blocks they replace; median share of characters; mean score of the judge, and the share of scores from 8.
    """
    from mnemic.teaching.statistics import stats
    from mnemic.teaching.tokens import token_counter

    found = stats(file, token_counter(tokens))
    if as_json:
        click.echo(json.dumps(found.model_dump(mode="json"), ensure_ascii=False))
    else:
        _print(found)


def _print(found: TraceStats) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=found.path, title_justify="left")
    table.add_column("domain")
    for head, _ in _COLUMNS.values():
        table.add_column(head, justify="right")
    for domain, figures in found.domains.items():
        values = [(getattr(figures, name), form) for name, (_, form) in _COLUMNS.items()]
        table.add_row(domain, *("–" if value is None else form.format(value) for value, form in values))
    teachers = ", ".join(f"{name} ({count:,})" for name, count in found.teachers.items())
    said = f"teachers: {teachers or 'none'}; failed records: {found.failed:,}; tokens counted by {found.tokens_by}"
    console = Console(highlight=False)
    console.print(table)
    console.print(Text(said, style="dim"), soft_wrap=True)
