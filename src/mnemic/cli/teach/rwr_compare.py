"""`mnemic teach rwr compare`: what changed between two evaluations of the same questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mnemic.teaching.rwr.evaluation.comparing import Comparison

__all__ = ["command", "print_comparison"]


@click.command("compare", context_settings={"show_default": True})
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option("--training-tokens", type=click.IntRange(1), help="Lengths are shown as multiples of it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(before: Path, after: Path, training_tokens: int | None, as_json: bool) -> None:
    """Show what changed from BEFORE to AFTER, two folders of `evaluate`, question by question.

    \b
    mnemic teach rwr evaluate base --data short: --mode direct --output before
    mnemic teach rwr evaluate taught --data short: --mode direct --output after
    mnemic teach rwr compare before after

    The difference is after - before; its interval is a bootstrap over the questions that both answered.
    """
    from mnemic.teaching.rwr.evaluation.comparing import compare, read_results

    found = compare(read_results(before), read_results(after), training_tokens)
    if as_json:
        click.echo(json.dumps({"before": str(before), "after": str(after), **found.as_json()}))
    else:
        print_comparison(found)


def print_comparison(found: Comparison) -> None:
    """A row per group of questions, and how many questions have no partner."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for number, name in enumerate(("questions of both", "n", "before", "after", "difference", "95 %")):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for name, group in found.groups.items():
        scores = (f"{group['before']:.3f}", f"{group['after']:.3f}", f"{group['difference']:+.3f}")
        table.add_row(name, f"{group['n']:,}", *scores, f"{group['low']:+.2f} to {group['high']:+.2f}")
    Console(highlight=False).print(table)
    if found.only_before or found.only_after:
        click.echo(f"left out: {found.only_before} answered before alone, {found.only_after} answered after alone")
