"""`mnemic recall`: a question put to the store."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from mnemic.cli.memory.options import chosen_by, json_option, open_for_reading, store_options

if TYPE_CHECKING:
    from mnemic.storage.records import Hit

__all__ = ["command"]

_SHOWN = 400  # characters of a passage


@click.command("recall", context_settings={"show_default": True})
@click.argument("question")
@store_options
@click.option("--method", default="auto", help="auto, bm25, dense, hybrid, best-turn, rule-graph, hipporag, …")
@click.option("--encoder", help="What embeds the question; it must be the store's.  [default: the store's]")
@click.option("-k", "--k", type=click.IntRange(1), default=5, help="How many passages.")
@click.option("--at", help="Only what was said up to then, such as 2024-05-31.")
@click.option("--known-at", help="Only what had been added by then.")
@chosen_by
@click.option("--explain", is_flag=True, help="Show parts of the scores, how each was reached, and times.")
@json_option
def command(
    question: str,
    location: str,
    tenant: str,
    method: str,
    encoder: str | None,
    k: int,
    at: str | None,
    known_at: str | None,
    session: str | None,
    actor: str | None,
    source: str | None,
    explain: bool,
    as_json: bool,
) -> None:
    """Recall what answers QUESTION best.

    \b
    mnemic recall "Where is the key?" --store memory.db
    """
    fields = {"session": session, "actor": actor, "source": source}
    filters = {name: value for name, value in fields.items() if value is not None}
    began = time.monotonic()
    with open_for_reading(location, tenant, encoder) as store:
        opened = time.monotonic()
        hits = store.search(question, k=k, method=method, at=at, known_at=known_at, filters=filters)
    seconds = time.monotonic() - began
    if as_json:
        shown: dict[str, Any] = {
            "hits": [_as_json(hit, explain) for hit in hits],
            "method": method,
            "seconds": seconds,
        }
        if explain:
            shown["timings"] = {"open": opened - began, "search": seconds - (opened - began)}
        click.echo(json.dumps(shown, ensure_ascii=False))
        return
    if not hits:
        click.echo("nothing was recalled", err=True)
    for rank, hit in enumerate(hits, 1):
        _print(rank, hit, explain)
    if explain:
        click.echo(f"{method}: {opened - began:.3f} s to open, {seconds - (opened - began):.3f} s to search", err=True)


def _as_json(hit: Hit, explain: bool) -> dict[str, Any]:
    shown = {
        "id": hit.id,
        "text": hit.text,
        "score": hit.score,
        "parts": dict(hit.parts),
        "provenance": dict(hit.provenance),
    }
    return shown | {"path": list(hit.path)} if explain else shown


def _print(rank: int, hit: Hit, explain: bool) -> None:
    from_ = hit.provenance
    told = [str(from_[name]) for name in ("title", "actor", "session", "source", "time") if from_[name]]
    click.echo(click.style(f"{rank}. {', '.join(told) or 'untitled'}", bold=True) + f"  {hit.score:.4g}  {hit.id}")
    text = " ".join(hit.text.split())
    click.echo(f"   {text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}")
    if explain:
        click.echo("   " + "  ".join(f"{name} {value:.4g}" for name, value in hit.parts.items()))
        for step in hit.path:
            click.echo(f"   {step}")
