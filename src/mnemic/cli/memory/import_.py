"""`mnemic import`: what `mnemic export` wrote, into a store."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from mnemic.cli.memory.options import json_option, open_for_writing, store_options
from mnemic.errors import UsageError

__all__ = ["command"]


@click.command("import", context_settings={"show_default": True})
@click.argument("file")
@store_options
@click.option("--encoder", help="What embeds texts.  [default: the store's, wordllama for a new one]")
@json_option
def command(file: str, location: str, tenant: str, encoder: str | None, as_json: bool) -> None:
    """Take in what `mnemic export` wrote to FILE. What is there already stays as it is."""
    from pathlib import Path

    if not Path(file).is_file():
        raise UsageError(f"'{file}' does not exist; `mnemic export` writes one")
    with open_for_writing(location, tenant, encoder) as store:
        done = asdict(store.import_(file))
    if as_json:
        click.echo(json.dumps(done))
    else:
        click.echo(f"{done['events']:,} events and {done['facts']:,} facts; {done['duplicates']:,} were there already")
