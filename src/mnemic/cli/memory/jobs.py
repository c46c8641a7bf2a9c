"""`mnemic jobs`: work that waits for a language model."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mnemic.cli.llm_server import LLM_KEY
from mnemic.cli.memory.options import json_option, llm_client, open_for_reading, store_options
from mnemic.errors import UsageError

if TYPE_CHECKING:
    from mnemic.llm import LLMClient
    from mnemic.storage.store import MemoryStore

__all__ = ["command"]


@click.command("jobs", context_settings={"show_default": True})
@store_options
@click.option("--state", type=click.Choice(["queued", "running", "done", "failed", "dead"]), help="Only these.")
@click.option("--run", "server", metavar="URL", help="Do what is due with this OpenAI-compatible server.")
@click.option("--offline", is_flag=True, help="Do what needs no model: sum up sessions by central sentences.")
@click.option("--model", metavar="NAME", help="Model of that server.")
@click.option("--api-key-env", metavar="NAME", help=f"Variable that holds the key; {LLM_KEY} if it is set.")
@click.option("--max-seconds", type=click.FloatRange(0), help="Begin no job after that.")
@click.option("--max-requests", type=click.IntRange(0), help="Most calls to pay for.")
@click.option("--retry", is_flag=True, help="Try failed and dead jobs again.")
@json_option
def command(
    location: str,
    tenant: str,
    state: str | None,
    server: str | None,
    offline: bool,
    model: str | None,
    api_key_env: str | None,
    max_seconds: float | None,
    max_requests: int | None,
    retry: bool,
    as_json: bool,
) -> None:
    """What waits for a language model, what was done and what it cost; with --run or --offline: do it.

    \b
    mnemic remember notes/ --extract llm
    mnemic remember chat.jsonl --summarise
    mnemic jobs --run http://localhost:11434/v1 --model qwen3
    """
    if offline and server is not None:
        raise UsageError("--offline does jobs without a model; leave --run URL away, or --offline")
    if (server is None) != (model is None):
        raise UsageError("--run URL and --model NAME belong together")
    with open_for_reading(location, tenant) as store:
        if retry:
            count = store.retry_jobs()
            if not as_json:
                click.echo(f"{count:,} jobs are due again")
        if server is not None and model is not None:
            with llm_client("--run", server, model, api_key_env, max_requests) as client:
                _run(store, client, max_seconds, as_json)
            return
        if offline:
            _run(store, None, max_seconds, as_json)
            return
        jobs = store.jobs(state)
    if as_json:
        click.echo(json.dumps({"jobs": [asdict(job) for job in jobs]}, ensure_ascii=False))
        return
    for job in jobs:
        told = f"  {job.error}" if job.error else ""
        click.echo(f"{job.id}  {job.kind:<9} {job.state:<8} {job.tokens_in + job.tokens_out:,} tokens{told}")
    if not jobs:
        click.echo("no jobs", err=True)


def _run(store: MemoryStore, client: LLMClient | None, max_seconds: float | None, as_json: bool) -> None:
    """Exits with 1 where a job failed or the run ended early."""
    report = store.run_jobs(client, max_seconds=max_seconds)
    if as_json:
        click.echo(json.dumps(asdict(report)))
    else:
        click.echo(
            f"{report.done:,} done, {report.failed:,} failed, {report.dead:,} given up; "
            f"{report.tokens_in + report.tokens_out:,} tokens in {report.seconds:.1f} s"
        )
        if report.stopped:
            click.echo(f"stopped: {report.stopped}", err=True)
    if report.failed or report.dead or report.stopped:
        click.get_current_context().exit(1)
