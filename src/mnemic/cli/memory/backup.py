"""`mnemic backup`: a whole copy of the store."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mnemic.cli.memory.options import json_option, open_for_reading, store_options

__all__ = ["command"]


@click.command("backup", context_settings={"show_default": True})
@click.argument("target", metavar="FILE")
@store_options
@json_option
def command(target: str, location: str, tenant: str, as_json: bool) -> None:
    """Copy the whole store, all tenants, to FILE, while others go on writing."""
    with open_for_reading(location, tenant) as store:
        store.backup(target)
    size = Path(target).stat().st_size
    click.echo(json.dumps({"backup": target, "bytes": size}) if as_json else f"{target}: {size:,} bytes")
