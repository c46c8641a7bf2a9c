"""`mnemic export`: a tenant as JSON lines."""

from __future__ import annotations

import json

import click

from mnemic.cli.memory.options import json_option, open_for_reading, store_options

__all__ = ["command"]


@click.command("export", context_settings={"show_default": True})
@click.argument("target", metavar="FILE")
@store_options
@json_option
def command(target: str, location: str, tenant: str, as_json: bool) -> None:
    """Write all that a tenant remembers to FILE, as JSON lines with a checksum, for `mnemic import`.

    Events, facts and the history go with it; vectors are made anew, and jobs that wait stay behind.
    """
    with open_for_reading(location, tenant) as store:
        count = store.export(target)
    click.echo(json.dumps({"export": target, "events": count}) if as_json else f"{target}: {count:,} events")
