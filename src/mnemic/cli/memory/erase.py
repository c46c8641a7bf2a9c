"""`mnemic erase`: out of the store for good."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from mnemic.cli.memory.options import chosen_by, json_option, open_for_reading, store_options
from mnemic.errors import UsageError

__all__ = ["command"]


@click.command("erase", context_settings={"show_default": True})
@click.argument("ids", nargs=-1, metavar="[ID]…")
@store_options
@chosen_by
@click.option("--subject", help="Events that name, quote or state a fact about this person or thing.")
@click.option("--everything", is_flag=True, help="All that the tenant remembers.")
@click.option("--scrub", is_flag=True, help="Also overwrite it on the disk, which rewrites the file.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def command(
    ids: tuple[str, ...],
    location: str,
    tenant: str,
    session: str | None,
    actor: str | None,
    source: str | None,
    subject: str | None,
    everything: bool,
    scrub: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete events for good, with everything that was derived from them alone.

    ID is an event's, or a hit's of `mnemic recall`. The history keeps the ids and no contents.
    """
    fields = {"session": session, "actor": actor, "source": source}
    chosen = {name: value for name, value in fields.items() if value is not None}
    with open_for_reading(location, tenant) as store:
        if not yes:
            _ask(f"Erase from {location} (tenant {tenant}) for good?")
        erased = store.erase(
            [name.partition("/")[0] for name in ids] or None,
            filter=chosen or None,
            subject=subject,
            everything=everything,
            scrub=scrub,
        )
    if as_json:
        click.echo(json.dumps(asdict(erased)))
    else:
        click.echo(", ".join(f"{count:,} {what}" for what, count in asdict(erased).items()) + " erased")


def _ask(question: str) -> None:
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        agreed = False
    if not agreed:
        raise UsageError("nothing was erased; --yes erases without asking")
