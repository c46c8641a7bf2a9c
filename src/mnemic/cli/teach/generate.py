"""`mnemic teach memento generate`: let a taught model write, its blocks evicted as it goes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from mnemic.errors import UsageError

__all__ = ["command"]


@click.command("generate", context_settings={"show_default": True})
@click.argument("checkpoint")
@click.option("--prompt", help="One prompt; in a chat model's template, the user's turn.")
@click.option("--prompts", type=click.Path(path_type=Path), help="File of prompts: .jsonl, or one a line.")
@click.option("--max-new-tokens", type=click.IntRange(1), default=2048, help="Tokens written, at most.")
@click.option("--temperature", type=click.FloatRange(0), default=0.0, help="0: the likeliest token each time.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=1.0, help="Mass of tokens to sample from.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the sampling.")
@click.option("--full", is_flag=True, help="Evict nothing.")
@click.option("--restart", is_flag=True, help="Compute each memento's keys again without its block: the ablation.")
@click.option("--well-formed", is_flag=True, help="Forbid markers out of order.")
@click.option("--force", is_flag=True, help="Evict although the model never learned to do without its blocks.")
@click.option("--device", default="auto", help="auto: a GPU where there is one.")
@click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(
    checkpoint: str,
    prompt: str | None,
    prompts: Path | None,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    full: bool,
    restart: bool,
    well_formed: bool,
    force: bool,
    device: str,
    dtype: str,
    as_json: bool,
) -> None:
    """Let CHECKPOINT, a taught model, answer prompts; what its mementos replace leaves the cache.

    \b
    mnemic teach memento generate qwen-memento --prompt "How many primes are below 100?"
    mnemic teach memento generate qwen-memento --prompts questions.jsonl --json
    """
    from transformers import TextStreamer

    from mnemic.teaching.memento.measured_prompts import generate_prompt
    from mnemic.teaching.memento.prompt_files import AskedPrompt, read_prompts
    from mnemic.teaching.memento.served_model import load_served_model

    if (prompt is None) == (prompts is None):
        raise UsageError("give either --prompt TEXT or --prompts FILE")
    if full and restart:
        raise UsageError("--full evicts nothing, --restart more than usual; give one of them")
    asked = read_prompts(prompts) if prompts is not None else [AskedPrompt("1", text=str(prompt))]
    served = load_served_model(checkpoint, device=device, dtype=dtype, force=force or full)
    rules, markers = rules_of(served, full=full, restart=restart)
    sampling = sampling_options(temperature, top_p)
    results = []
    for one in asked:
        if not as_json and len(asked) > 1:
            click.echo(f"\n[{one.id}]")
        streamer = None if as_json else TextStreamer(served.tokenizer, skip_prompt=True)
        began = time.perf_counter()
        out = generate_prompt(
            served, one, rules, markers, seed,
            max_new_tokens=max_new_tokens, well_formed=well_formed, streamer=streamer, **sampling,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        written = out.sequences[0, out.prompts :].tolist()
        results.append(
            {
                "id": one.id,
                "text": served.tokenizer.decode(written, skip_special_tokens=False),
                "prompt_tokens": out.prompts,
                "tokens": len(written),
                "seconds": seconds,
                "blocks": [list(block) for block in out.blocks[0]],
                "evictions": out.evictions[0],
                "malformed": out.malformed[0],
                "forced_block_ends": out.forced_block_ends[0],
                "peak_tokens": out.peak_tokens[0],
                "area": out.area[0],
                "kv_trace": out.kv_trace[0],
            }
        )
        click.echo(_said(results[-1]), err=True)
    if as_json:
        click.echo(json.dumps({"checkpoint": checkpoint, "rules": rules.model_dump(), "results": results}))


def rules_of(served: Any, *, full: bool = False, restart: bool = False) -> tuple[Any, Any]:
    """A checkpoint's rules, those that evict nothing, or those that restart; and its markers.

    Raises:
        UsageError: a checkpoint without memento.json.
    """
    from mnemic.teaching.memento.memento_file import NAME
    from mnemic.teaching.memento.rules import MementoRules

    if served.about is None:
        raise UsageError(f"'{served.name}' has no {NAME}; mnemic teach memento export makes a checkpoint that has one")
    if restart:
        own = served.about.rules
        rules = MementoRules(restart=True, mask_delimiters=own.mask_delimiters, max_block_tokens=own.max_block_tokens)
    else:
        rules = MementoRules(keep_last_n_blocks=-1) if full else served.about.rules
    return rules, served.about.marker_ids


def sampling_options(temperature: float, top_p: float) -> dict[str, Any]:
    """What `generate` takes for them."""
    if temperature == 0:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}


def _said(result: dict[str, Any]) -> str:
    length, peak = result["prompt_tokens"] + result["tokens"], result["peak_tokens"]
    return (
        f"{result['tokens']:,} tokens in {result['seconds']:.1f} s; at most {peak:,} of {length:,} were held; "
        f"{result['evictions']} evictions, {result['malformed']} markers out of order"
    )
