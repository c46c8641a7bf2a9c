"""`mnemic teach memento export`: a taught model for whoever is to serve it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

__all__ = ["command"]

_RULES = ("keep_last_n_blocks", "mask_delimiters", "keep_last_block_for_answer", "max_block_tokens")


@click.command("export", context_settings={"show_default": True})
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--output", "--out", type=click.Path(path_type=Path), required=True, help="Folder of the export.")
@click.option(
    "--format", "form", type=click.Choice(["hf", "vllm", "llama.cpp"]), default="hf",
    help="vllm and llama.cpp also say how to serve it.",
)  # fmt: skip
@click.option("--keep-last-n-blocks", type=click.IntRange(-1), show_default="as trained", help="-1: evict nothing.")
@click.option("--mask-delimiters/--keep-delimiters", default=None, show_default="as trained", help="Markers go too.")
@click.option(
    "--keep-last-block-for-answer/--drop-last-block", default=None, show_default="as trained",
    help="A block goes only when the next starts.",
)  # fmt: skip
@click.option("--max-block-tokens", type=click.IntRange(0), show_default="as trained", help="0: blocks have no limit.")
@click.option("--force", is_flag=True, help="Export with eviction what was never trained for it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(run: Path, output: Path, form: str, force: bool, as_json: bool, **given: Any) -> None:
    """Copy the model of RUN, a folder of `train` or an earlier export, with its template and memento.json.

    \b
    mnemic teach memento export runs/qwen --output qwen-memento
    mnemic teach memento export runs/qwen --format vllm --output qwen-memento
    """
    from mnemic.options import validated
    from mnemic.teaching.memento.export import copy_export, find_model, llama_cpp_notes, vllm_notes
    from mnemic.teaching.memento.memento_file import read_memento_file
    from mnemic.teaching.memento.rules import MementoRules

    changed = {name: given[name] for name in _RULES if given[name] is not None}
    rules = read_memento_file(find_model(run)).rules.model_dump() | changed
    about = copy_export(run, output, rules=validated("export", MementoRules, rules), force=force)
    notes = {"vllm": vllm_notes, "llama.cpp": llama_cpp_notes}.get(form)
    said = notes(output, about) if notes is not None else None
    if as_json:
        click.echo(
            json.dumps({"output": str(output), "memento": about.model_dump(mode="json", by_alias=True), "notes": said})
        )
    elif said is not None:
        click.echo(said)
    click.echo(f"model: {output}", err=True)
