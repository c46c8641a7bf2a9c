"""`mnemic teach rwr train`: rows with notes in, a model that recalls by reasoning out."""

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
    from mnemic.teaching.rwr.recall_rows import RecallRows
    from mnemic.teaching.rwr.recall_training import RecallTuning
    from mnemic.teaching.tuning_run import FineTuned

__all__ = ["command", "read_config"]

_NAMES = (
    "target", "summary_share", "query_position", "max_length", "epochs", "steps", "batch_size", "lr", "evaluations",
    *RUN_OPTIONS,
)  # fmt: skip


@click.command("train")
@click.argument("rows", type=click.Path(path_type=Path))
@click.option("--model", "name", required=True, metavar="NAME_OR_PATH", help="Causal model, by name or folder.")
@click.option("--output", "--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file with options; those given here win.")
@click.option(
    "--target",
    type=click.Choice(["mixed", "summary+answer", "summary", "answer"]),
    help="What rows with a note are to write: the note, in part with the answer; or the answer alone, which is the "
    "control.  [default: mixed]",
)
@click.option("--summary-share", type=click.FloatRange(0, 1), help="Of mixed: notes that stand alone.  [default: 0.5]")
@click.option(
    "--query-position",
    type=click.Choice(["after", "before", "both"]),
    help="Where the question stands, seen from the context.  [default: after]",
)
@click.option("--max-length", type=click.IntRange(8), help="Rows of more tokens are left out.  [default: 6000]")
@click.option("--epochs", type=click.FloatRange(0, min_open=True), help="Passes over the rows.  [default: 1]")
@click.option("--steps", type=click.IntRange(1), help="Optimiser steps, instead of epochs.")
@click.option("--batch-size", type=click.IntRange(1), help="Rows per step.  [default: 16, fewer of few rows]")
@click.option("--lr", type=click.FloatRange(0, min_open=True), help="Peak learning rate.  [default: 2e-5]")
@click.option("--evaluations", type=click.IntRange(1), help="Looks at the held-out rows.  [default: 10]")
@click.option(
    "--lora", type=click.IntRange(1), metavar="RANK", help="Train adapters of this rank (ReMamba: 32), not all weights."
)
@click.option("--lora-targets", metavar="NAME,…", help="Layers with adapters.  [default: all that can be trained so]")
@run_options
def command(
    rows: Path, name: str, output: Path, config: Path | None, resume: bool, as_json: bool, **given: Any
) -> None:
    """Teach a model with ROWS, as `build` leaves them, to note what it remembers before it answers.

    \b
    mnemic teach rwr train data/recall.jsonl --model state-spaces/mamba-2.8b-hf --output runs/mamba --lora 32
    mnemic teach rwr train data/recall.jsonl --model my-model --output runs/plain --target answer
    torchrun --nproc-per-node 8 -m mnemic teach rwr train data/recall.jsonl --model NAME --output DIR --shard

    OUTPUT gets model/ with rwr.json, metrics.jsonl, results.jsonl and report.html.
    """
    import torch

    from mnemic.teaching.pretrained import load_config, load_tokenizer, model_loader
    from mnemic.teaching.rwr.recall_training import slow_kernels, teach_recall

    options = read_config(config, given)
    if not rows.is_file():
        raise UsageError(f"there is no file '{rows}'; mnemic teach rwr build makes one")

    def tune(display: TrainingDisplay, should_stop: Callable[[], bool]) -> FineTuned:
        on_accelerator = options.device == "auto" and torch.accelerator.is_available()
        make_model = model_loader(name, kernel=None)
        tokenizer = load_tokenizer(name)
        if slow := slow_kernels(load_config(name), on_accelerator=on_accelerator):
            display.note(slow)

        def introduce(made: RecallRows) -> None:
            parts = ", ".join(f"{count:,} {mode}" for mode, count in sorted(made.asked.items()))
            display.note(f"{len(made):,} rows of up to {int(made.lengths.max()):,} tokens: {parts}")

        return teach_recall(
            make_model, tokenizer, rows, options, output, name=name, resume=resume, on_tokenised=display.tokenised,
            on_rows=introduce, on_stage=display.stage, on_progress=display.step, should_stop=should_stop,
            command=called_as(),
        )  # fmt: skip

    run_tuning(tune, output, "rows", as_json)


def read_config(path: Path | None, given: dict[str, Any]) -> RecallTuning:
    """The file's options with those of the command line over them.

    Raises:
        UsageError: the file cannot be read, or an option is wrong; the message names it.
    """
    from mnemic.options import validated
    from mnemic.teaching.rwr.recall_training import RecallTuning
    from mnemic.teaching.tuning_options import Lora

    data = read_yaml(path, "options such as max_length: 2048") if path is not None else {}
    where = str(path) if path is not None else "train"
    adapters = {"rank": given["lora"], "targets": _targets(given["lora_targets"])}
    adapters = {name: value for name, value in adapters.items() if value is not None}
    if adapters and isinstance(data.get("lora"), dict | None):
        data["lora"] = {**(data.get("lora") or {}), **adapters}
    if isinstance(data.get("lora"), dict):
        data["lora"] = validated(f"{where}: lora", Lora, data["lora"])
    return validated(where, RecallTuning, {**data, **{k: given[k] for k in _NAMES if given[k] is not None}})


def _targets(text: str | None) -> str | tuple[str, ...] | None:
    return text if text in (None, "all-linear") else tuple(part.strip() for part in text.split(",") if part.strip())
