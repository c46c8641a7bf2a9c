"""`mnemic teach memento train`: traces with mementos in, a model that lives with them out."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnemic.cli.yaml_file import read_yaml
from mnemic.errors import UsageError

if TYPE_CHECKING:
    from mnemic.teaching.fine_tuning import FineTuned
    from mnemic.teaching.fine_tuning_config import FineTuneConfig

__all__ = ["command", "read_config"]

INTERRUPTED = 130
_OF_STAGES = ("epochs", "steps", "batch_size", "lr", "evaluations")
_OF_ALL = ("max_length", "rows_at_once", "pack", "shard", "device", "seed", "precision", "choose_by", "max_new_tokens")


@click.command("train")
@click.argument("traces", type=click.Path(path_type=Path))
@click.option("--model", "name", required=True, metavar="NAME_OR_PATH", help="Transformers model, by name or folder.")
@click.option("--output", "--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file with options; those given here win.")
@click.option("--stages", metavar="KIND,…", help="full, memento, restart, or plain by itself.  [default: full,memento]")
@click.option(
    "--epochs", type=click.FloatRange(0, min_open=True), help="Passes over the traces, per stage.  [default: 5]"
)
@click.option("--steps", type=click.IntRange(1), help="Optimiser steps per stage, instead of epochs.")
@click.option("--batch-size", type=click.IntRange(1), help="Rows per step.  [default: 512, fewer of few traces]")
@click.option("--lr", type=click.FloatRange(0, min_open=True), help="Peak learning rate.  [default: 8e-5]")
@click.option("--evaluations", type=click.IntRange(1), help="Looks at the held-out traces, per stage.  [default: 10]")
@click.option("--max-length", type=click.IntRange(8), help="Tokens of the longest row.  [default: 32768]")
@click.option("--rows-at-once", type=click.IntRange(1), help="Rows that a device takes at once.  [default: 1]")
@click.option("--pack/--no-pack", default=None, help="Several traces in a row.  [default: with flex_attention]")
@click.option("--lora", type=click.IntRange(1), metavar="RANK", help="Train adapters of this rank, not all weights.")
@click.option(
    "--attention",
    "kernel",
    type=click.Choice(["auto", "sdpa", "eager", "flex_attention"]),
    default="auto",
    help="Kernel; auto: flex_attention on a GPU, sdpa elsewhere.",
)
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), help="auto: bf16 on a GPU.  [default: auto]")
@click.option("--shard", is_flag=True, default=None, help="Cut the weights over the processes (FSDP2).")
@click.option("--device", type=click.Choice(["auto", "cpu"]), help="auto: a GPU where there is one.  [default: auto]")
@click.option("--seed", type=click.IntRange(0), help="Order of the traces.  [default: 42]")
@click.option(
    "--choose-by",
    type=click.Choice(["loss", "answers"]),
    help="Which evaluation is the best: answers generates them.  [default: loss]",
)
@click.option("--max-new-tokens", type=click.IntRange(1), help="Of such an answer.  [default: 4096]")
@click.option("--resume", is_flag=True, help="Go on with the run in OUTPUT.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(
    traces: Path, name: str, output: Path, config: Path | None, kernel: Any, resume: bool, as_json: bool, **given: Any
) -> None:
    """Teach a model with the traces of TRACES: first their form, then to do without what they summarise.

    \b
    mnemic teach memento train data/traces.jsonl --model Qwen/Qwen3-0.6B --output runs/qwen --lora 16
    torchrun --nproc-per-node 8 -m mnemic teach memento train data/traces.jsonl --model NAME --output DIR --shard

    OUTPUT gets model/, metrics.jsonl, results.jsonl and report.html. Markers that the tokenizer lacks are added.
    """
    import torch
    from transformers.utils.logging import disable_progress_bar

    from mnemic.cli.teach.training_display import TrainingDisplay
    from mnemic.teaching.fine_tuning import fine_tune
    from mnemic.teaching.memento.export import ensure_template
    from mnemic.teaching.memento.marker_text import MARKERS
    from mnemic.teaching.pretrained import load_tokenizer, model_loader
    from mnemic.teaching.stop_signals import asked_to_stop_by_signal
    from mnemic.training.progress import Interrupted

    disable_progress_bar()
    options = read_config(config, given)
    if not traces.is_file():
        raise UsageError(f"there is no file '{traces}'")
    on_accelerator = options.device == "auto" and torch.accelerator.is_available()
    half = options.lora is not None and on_accelerator and options.precision != "fp32"
    make_model = model_loader(name, kernel=kernel, half=half, on_accelerator=on_accelerator)
    tokenizer = load_tokenizer(name)
    with TrainingDisplay() as display, asked_to_stop_by_signal() as should_stop:
        if MARKERS.block_start not in tokenizer.get_vocab():
            display.note(f"the tokenizer of {name} has no markers: they are added, their rows start from related words")
        if changed := ensure_template(tokenizer):
            display.note(changed)
        try:
            found = fine_tune(
                make_model, tokenizer, traces, options, output, name=name, resume=resume,
                on_tokenised=display.tokenised, on_stage=display.stage, on_progress=display.step,
                should_stop=should_stop, command=shlex.join(["mnemic", *sys.argv[1:]]),
            )  # fmt: skip
        except Interrupted as stopped:
            again = shlex.join([*(a for a in sys.argv[1:] if a != "--resume"), "--resume"])
            display.note(f"{stopped}. Go on with:\n  mnemic {again}")
            click.get_current_context().exit(INTERRUPTED)
    if os.environ.get("RANK", "0") == "0":
        _finish(found, output, as_json)


def read_config(path: Path | None, given: dict[str, Any]) -> FineTuneConfig:
    """The file's options with those of the command line over them.

    Raises:
        UsageError: the file cannot be read, or an option is wrong; the message names it.
    """
    from mnemic.options import validated
    from mnemic.teaching.fine_tuning_config import FineTuneConfig, Lora, Stage

    data = read_yaml(path, "options such as max_length: 4096") if path is not None else {}
    where = str(path) if path is not None else "train"
    kinds = [kind.strip() for kind in given["stages"].split(",")] if given["stages"] else None
    stages = [{"attention": kind} for kind in kinds] if kinds else data.pop("stages", None)
    stages = [{"attention": "full"}, {"attention": "memento"}] if stages is None else stages
    if not (isinstance(stages, list) and all(isinstance(stage, dict) for stage in stages)):
        raise UsageError(f"{where}: stages must be a list such as [{{attention: full}}, {{attention: memento}}]")
    data.pop("stages", None)
    own = {key: given[key] for key in _OF_STAGES if given[key] is not None}
    if given["lora"] is not None:
        data["lora"] = {**(data.get("lora") or {}), "rank": given["lora"]}
    if data.get("lora") is not None:
        data["lora"] = validated(f"{where}: lora", Lora, data["lora"])
    checked = tuple(validated(f"{where}: stage {n}", Stage, {**s, **own}) for n, s in enumerate(stages, start=1))
    data |= {key: given[key] for key in _OF_ALL if given[key] is not None}
    return validated(where, FineTuneConfig, {**data, "stages": checked})


def _finish(found: FineTuned, output: Path, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    if as_json:
        stages = [{**vars(stage), "curve": stage.curve} for stage in found.stages]
        click.echo(json.dumps({"output": str(output), "model": str(found.model), "stages": stages}))
    else:
        table = Table("stage", "rows", "steps", "best at", "held-out loss", "seconds")
        for stage in found.stages:
            best = stage.best
            loss = f"{best['valid_loss']:.4f}"
            table.add_row(
                stage.name, f"{stage.rows:,}", str(stage.steps), str(best["step"]), loss, f"{stage.seconds:.0f}"
            )
        Console(highlight=False).print(table)
    for reason, count in sorted(found.stages[-1].dropped.items()):
        click.echo(f"left out: {count:,} traces, {reason}", err=True)
    click.echo(f"model: {found.model}, report: {output}/report.html", err=True)
