"""`mnemic history`: who changed what, and when."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from mnemic.cli.memory.options import json_option, open_for_reading, store_options

__all__ = ["command"]


@click.command("history", context_settings={"show_default": True})
@click.argument("subject", required=False, metavar="[ID]")
@store_options
@click.option("--limit", type=click.IntRange(1), default=20, help="The latest so many.")
@json_option
def command(subject: str | None, location: str, tenant: str, limit: int, as_json: bool) -> None:
    """What was done to an event or a fact, or to anything, the latest first."""
    from mnemic.storage.times import iso

    with open_for_reading(location, tenant) as store:
        entries = store.history(None if subject is None else subject.partition("/")[0], limit=limit)
    if as_json:
        shown = [asdict(entry) | {"at": iso(entry.at)} for entry in entries]
        click.echo(json.dumps({"history": shown}, ensure_ascii=False))
        return
    for entry in entries:
        click.echo(f"{iso(entry.at)}  {entry.action:<10} {entry.subject}  {entry.actor}")
