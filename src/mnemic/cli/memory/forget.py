"""`mnemic forget`: out of what is recalled, not out of the store."""

from __future__ import annotations

import json

import click

from mnemic.cli.memory.options import chosen_by, json_option, open_for_reading, store_options

__all__ = ["command"]


@click.command("forget", context_settings={"show_default": True})
@click.argument("ids", nargs=-1, metavar="[ID]…")
@store_options
@chosen_by
@json_option
def command(
    ids: tuple[str, ...],
    location: str,
    tenant: str,
    session: str | None,
    actor: str | None,
    source: str | None,
    as_json: bool,
) -> None:
    """Recall these events no more; they stay in the store, and come back when they are remembered again.

    ID is an event's, or a hit's of `mnemic recall`. `mnemic erase` deletes for good.
    """
    fields = {"session": session, "actor": actor, "source": source}
    chosen = {name: value for name, value in fields.items() if value is not None}
    with open_for_reading(location, tenant) as store:
        count = store.forget([name.partition("/")[0] for name in ids] or None, filter=chosen or None)
    click.echo(json.dumps({"forgotten": count}) if as_json else f"{count:,} forgotten")
