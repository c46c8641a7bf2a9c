"""`mnemic remember`: files into the store."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnemic.cli.memory.options import json_option, open_for_writing, store_options

if TYPE_CHECKING:
    from mnemic.storage.adding import Extract
    from mnemic.storage.reading import Unreadable
    from mnemic.storage.records import Event

__all__ = ["command"]

_AT_ONCE = 100  # events between two looks at the progress


@click.command("remember", context_settings={"show_default": True})
@click.argument("path", metavar="FILE|DIR|-")
@store_options
@click.option("--encoder", help="What embeds texts.  [default: the store's, wordllama for a new one]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "text", "markdown", "html", "chat", "pdf"]),
    default="auto",
    help="What the files are; auto goes by their names. chat is JSON lines.",
)
@click.option(
    "--extract",
    type=click.Choice(["rules", "llm", "none"]),
    default="rules",
    help="Who looks for names and facts; llm leaves jobs for `mnemic jobs --run`.",
)
@click.option("--summarise", is_flag=True, help="Leave a job for each session that sums it up; see `mnemic jobs`.")
@json_option
def command(
    path: str,
    location: str,
    tenant: str,
    encoder: str | None,
    form: str,
    extract: Extract,
    summarise: bool,
    as_json: bool,
) -> None:
    """Remember a file, all files of a folder, or standard input.

    \b
    mnemic remember notes/ --store memory.db
    echo 'The key is under the mat.' | mnemic remember -

    A chat is a .jsonl file with lines {"session": …, "actor": …, "time": …, "text": …}.
    What is there already stays as it is: after an interruption run it again, and it goes on.
    """
    from mnemic.storage.reading import Unreadable, events_of, read_events
    from mnemic.storage.records import ItemReport

    began = time.monotonic()
    counts = {"stored": 0, "duplicate": 0, "failed": 0}
    failures: list[dict[str, str]] = []
    found = events_of(sys.stdin.buffer.read(), "-", form) if path == "-" else read_events(Path(path), form)
    with open_for_writing(location, tenant, encoder) as store:
        for batch in _batches(found):
            events = [each for each in batch if not isinstance(each, Unreadable)]
            reports = iter(store.add(events, extract=extract, summarise=summarise).items)
            for each in batch:
                report = ItemReport("failed", None, each.reason) if isinstance(each, Unreadable) else next(reports)
                counts[report.status] += 1
                if report.status == "failed":
                    failures.append({"source": each.source, "reason": report.reason})
                    click.echo(f"not remembered: {each.source}: {report.reason}", err=True)
            if sys.stderr.isatty():
                click.echo(f"\r{sum(counts.values()):,} events", nl=False, err=True)
    seconds = time.monotonic() - began
    if sys.stderr.isatty():
        click.echo("\r", nl=False, err=True)
    if as_json:
        shown = {
            "stored": counts["stored"],
            "duplicates": counts["duplicate"],
            "failed": counts["failed"],
            "failures": failures,
            "seconds": seconds,
        }
        click.echo(json.dumps(shown, ensure_ascii=False))
    else:
        known = f", {counts['duplicate']:,} were there already" if counts["duplicate"] else ""
        failed = f", {counts['failed']:,} failed" if counts["failed"] else ""
        click.echo(f"{counts['stored']:,} remembered{known}{failed} in {seconds:.1f} s: {location}")
    if failures:
        click.get_current_context().exit(1)


def _batches(found: Iterator[Event | Unreadable]) -> Iterator[list[Event | Unreadable]]:
    while batch := list(islice(found, _AT_ONCE)):
        yield batch
