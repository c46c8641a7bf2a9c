"""`mnemic teach memento measure`: what eviction saves a taught model, prompt by prompt."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnemic.errors import UsageError

if TYPE_CHECKING:
    from mnemic.teaching.memento.measured_prompts import MeasuredPrompt

__all__ = ["command"]

_HEAD = ("prompt", "written", "blocks", "peak", "of full", "area", "of full", "tokens/s", "× full", "× transformers")


@click.command("measure", context_settings={"show_default": True})
@click.argument("checkpoint")
@click.option("--prompts", type=click.Path(path_type=Path), required=True, help="File: .jsonl, or one a line.")
@click.option("--output", "--out", type=click.Path(path_type=Path), required=True, help="Folder of the results.")
@click.option("--max-new-tokens", type=click.IntRange(1), default=2048, help="Tokens written, at most.")
@click.option("--temperature", type=click.FloatRange(0), default=0.0, help="0: the likeliest token each time.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=1.0, help="Mass of tokens to sample from.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the sampling.")
@click.option("--repeats", type=click.IntRange(1), default=3, help="Timed turns of each arm, after one that warms up.")
@click.option("--restart", is_flag=True, help="Compute each memento's keys again without its block: the ablation.")
@click.option("--force", is_flag=True, help="Evict although the model never learned to do without its blocks.")
@click.option("--device", default="auto", help="auto: a GPU where there is one.")
@click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(
    checkpoint: str,
    prompts: Path,
    output: Path,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    repeats: int,
    restart: bool,
    force: bool,
    device: str,
    dtype: str,
    as_json: bool,
) -> None:
    """Let CHECKPOINT answer prompts and measure what it held; then time full attention on the very same tokens.

    \b
    mnemic teach memento measure qwen-memento --prompts questions.jsonl --output measured

    OUTPUT gets measured.jsonl, a line per prompt as soon as it is done, and report.html with the saw-tooth of the keys
    that were held. Run again, it goes on where it stopped.
    """
    from rich.console import Console
    from rich.table import Table

    from mnemic.cli.teach.generate import rules_of, sampling_options
    from mnemic.report.document import write_document
    from mnemic.report.kept_tokens_page import SOURCE, kept_tokens_page
    from mnemic.teaching.memento.measured_prompts import measure_prompts
    from mnemic.teaching.memento.prompt_files import read_prompts
    from mnemic.teaching.memento.served_model import load_served_model

    asked = read_prompts(prompts)
    served = load_served_model(checkpoint, device=device, dtype=dtype, force=force)
    rules, markers = rules_of(served, restart=restart)
    settings = {
        "checkpoint": checkpoint, "rules": rules.model_dump(), "max_new_tokens": max_new_tokens,
        "temperature": temperature, "top_p": top_p, "seed": seed,
    }  # fmt: skip
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to '{output}': {error.strerror}; name another --output") from error
    rows = measure_prompts(
        served, asked, rules, markers, output / "measured.jsonl", settings, repeats=repeats, seed=seed,
        on_measured=_Lines(len(asked)), max_new_tokens=max_new_tokens, **sampling_options(temperature, top_p),
    )  # fmt: skip
    cells = [_cells(row) for row in rows]
    means = summary(rows)
    title = f"What {served.name} held while it wrote"
    fewer = f"{means['times_less_peak']:.1f}× fewer tokens at its peak and {means['times_less_area']:.1f}× fewer in all"
    faster = (
        f"{means['times_as_fast']:.2f}× as fast ({means['times_as_fast_as_transformers']:.2f}× transformers' cache)"
    )
    said = f"Beside full attention it held {fewer}, and it was {faster}; means of {len(rows)} prompts."
    page = kept_tokens_page(title, said, _HEAD, cells, {row.id: row.trace for row in rows})
    write_document(page, output / "report.html", SOURCE)
    if as_json:
        click.echo(json.dumps({"output": str(output), "summary": means, "prompts": [row.model_dump() for row in rows]}))
    else:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for number, name in enumerate(_HEAD):
            table.add_column(name, justify="right" if number else "left")
        for row in cells:
            table.add_row(*row)
        Console(highlight=False).print(table)
        click.echo(said)
    click.echo(f"report: {output}/report.html", err=True)


def summary(rows: list[MeasuredPrompt]) -> dict[str, float]:
    """Means over the prompts."""
    return {
        "tokens": statistics.fmean(row.tokens for row in rows),
        "peak": statistics.fmean(row.peak for row in rows),
        "times_less_peak": statistics.fmean(row.full_peak / row.peak for row in rows),
        "times_less_area": statistics.fmean(row.full_area / row.area for row in rows),
        "times_as_fast": statistics.fmean(row.speed["evicting"] / row.speed["full, set aside"] for row in rows),
        "times_as_fast_as_transformers": statistics.fmean(
            row.speed["evicting"] / row.speed["full, transformers"] for row in rows
        ),
        "eviction_share": statistics.fmean(row.eviction_share for row in rows),
        "malformed": statistics.fmean(row.malformed for row in rows),
    }


def _cells(row: MeasuredPrompt) -> tuple[str, ...]:
    speed = row.speed["evicting"]
    return (
        row.id,
        f"{row.tokens:,}",
        f"{row.blocks:,}",
        f"{row.peak:,}",
        f"{row.peak / row.full_peak:.0%}",
        f"{row.area:,}",
        f"{row.area / row.full_area:.0%}",
        f"{speed:,.0f}",
        f"{speed / row.speed['full, set aside']:.2f}",
        f"{speed / row.speed['full, transformers']:.2f}",
    )


class _Lines:
    """A line on stderr for every prompt."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0

    def __call__(self, row: Any) -> None:
        self.done += 1
        held = f"at most {row.peak:,} of {row.full_peak:,} tokens held"
        click.echo(f"prompt {row.id} ({self.done} of {self.total}): {row.tokens:,} tokens, {held}", err=True)
