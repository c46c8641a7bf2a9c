"""`mnemic teach memento train`: traces with mementos in, a model that lives with them out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnemic.cli.teach.tuning import RUN_OPTIONS, called_as, run_options, run_tuning
from mnemic.cli.yaml_file import read_yaml
from mnemic.errors import UsageError

if TYPE_CHECKING:
    from mnemic.cli.teach.training_display import TrainingDisplay
    from mnemic.teaching.fine_tuning_config import FineTuneConfig
    from mnemic.teaching.tuning_run import FineTuned

__all__ = ["command", "read_config"]

_OF_STAGES = ("epochs", "steps", "batch_size", "lr", "evaluations")
_OF_ALL = ("max_length", "pack", "choose_by", "max_new_tokens", *RUN_OPTIONS)


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
@click.option("--pack/--no-pack", default=None, help="Several traces in a row.  [default: with flex_attention]")
@click.option("--lora", type=click.IntRange(1), metavar="RANK", help="Train adapters of this rank, not all weights.")
@click.option(
    "--attention",
    "kernel",
    type=click.Choice(["auto", "sdpa", "eager", "flex_attention"]),
    default="auto",
    help="Kernel; auto: flex_attention on a GPU, sdpa elsewhere.",
)
@click.option(
    "--choose-by",
    type=click.Choice(["loss", "answers"]),
    help="Which evaluation is the best: answers generates them.  [default: loss]",
)
@click.option("--max-new-tokens", type=click.IntRange(1), help="Of such an answer.  [default: 4096]")
@run_options
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

    from mnemic.teaching.fine_tuning import fine_tune
    from mnemic.teaching.memento.export import ensure_template
    from mnemic.teaching.memento.marker_text import MARKERS
    from mnemic.teaching.pretrained import load_tokenizer, model_loader

    options = read_config(config, given)
    if not traces.is_file():
        raise UsageError(f"there is no file '{traces}'")

    def tune(display: TrainingDisplay, should_stop: Callable[[], bool]) -> FineTuned:
        on_accelerator = options.device == "auto" and torch.accelerator.is_available()
        half = options.lora is not None and on_accelerator and options.precision != "fp32"
        make_model = model_loader(name, kernel=kernel, half=half, on_accelerator=on_accelerator)
        tokenizer = load_tokenizer(name)
        if MARKERS.block_start not in tokenizer.get_vocab():
            display.note(f"the tokenizer of {name} has no markers: they are added, their rows start from related words")
        if changed := ensure_template(tokenizer):
            display.note(changed)
        return fine_tune(
            make_model, tokenizer, traces, options, output, name=name, resume=resume,
            on_tokenised=display.tokenised, on_stage=display.stage, on_progress=display.step,
            should_stop=should_stop, command=called_as(),
        )  # fmt: skip

    run_tuning(tune, output, "traces", as_json)


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
