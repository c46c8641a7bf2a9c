"""`mnemic teach rwr validate`: does a file of notes keep its promises?"""

from __future__ import annotations

from pathlib import Path

import click

from mnemic.cli.teach.validate import show

__all__ = ["command"]


@click.command("validate")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--tokens", metavar="TOKENIZER", help="tokenizer.json or model that counts; by rule if none is named.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(file: Path, tokens: str | None, as_json: bool) -> None:
    """Check every line of FILE, a .jsonl of recall records, and show what it holds.

    Exit code 1 if a line is no valid record: a note that nothing verified, an empty one that is not the word for it,
    an id that comes twice. What a build left out is counted with its reasons, from FILE.rejected.jsonl beside it.
    """
    from mnemic.teaching.records import RECALL

    show(file, tokens, as_json, RECALL)
