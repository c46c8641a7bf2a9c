"""`mnemic jobs`: work that waits for a language model."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from mnemic.cli.memory.options import json_option, open_for_reading, store_options

__all__ = ["command"]


@click.command("jobs", context_settings={"show_default": True})
@store_options
@click.option("--state", type=click.Choice(["queued", "running", "done", "failed", "dead"]), help="Only these.")
@json_option
def command(location: str, tenant: str, state: str | None, as_json: bool) -> None:
    """What waits for a language model, what was done and what it cost."""
    with open_for_reading(location, tenant) as store:
        jobs = store.jobs(state)
    if as_json:
        click.echo(json.dumps({"jobs": [asdict(job) for job in jobs]}, ensure_ascii=False))
        return
    for job in jobs:
        told = f"  {job.error}" if job.error else ""
        click.echo(f"{job.id}  {job.kind:<8} {job.state:<8} {job.tokens_in + job.tokens_out:,} tokens{told}")
    if not jobs:
        click.echo("no jobs", err=True)
