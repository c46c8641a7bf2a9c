"""`mnemic stats`: how much there is."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from mnemic.cli.memory.options import json_option, open_for_reading, store_options

__all__ = ["command"]


@click.command("stats", context_settings={"show_default": True})
@store_options
@click.option("--check", is_flag=True, help="Also look for damage; exit with 1 when there is some.")
@json_option
def command(location: str, tenant: str, check: bool, as_json: bool) -> None:
    """How much a store holds, and what made its vectors."""
    with open_for_reading(location, tenant) as store:
        shown = asdict(store.stats())
        wrong = store.check() if check else []
    if check:
        shown["damage"] = wrong
    if as_json:
        click.echo(json.dumps(shown, ensure_ascii=False))
    else:
        for name, value in shown.items():
            if name == "jobs":
                value = ", ".join(f"{count} {state}" for state, count in value.items()) or "none"
            elif name == "damage":
                value = "; ".join(value) or "none"
            click.echo(f"{name:<10} {value:,}" if isinstance(value, int) else f"{name:<10} {value}")
    if wrong:
        click.get_current_context().exit(1)
