"""How any fine-tuning runs under a person's eyes: its options, its display, a stop by a signal, and its last words."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from mnemic.cli.teach.training_display import TrainingDisplay
    from mnemic.teaching.tuning_run import FineTuned

__all__ = ["RUN_OPTIONS", "called_as", "run_options", "run_tuning"]

INTERRUPTED = 130
RUN_OPTIONS = ("rows_at_once", "precision", "shard", "device", "seed")

F = TypeVar("F", bound=Callable[..., Any])
Tune = Callable[["TrainingDisplay", Callable[[], bool]], "FineTuned"]


def run_options(function: F) -> F:
    """Options that every fine-tuning has; RUN_OPTIONS names those that its config has too."""
    options = (
        click.option("--rows-at-once", type=click.IntRange(1), help="Rows that a device takes at once.  [default: 1]"),
        click.option(
            "--precision", type=click.Choice(["auto", "fp32", "bf16"]), help="auto: bf16 on a GPU.  [default: auto]"
        ),
        click.option("--shard", is_flag=True, default=None, help="Cut the weights over the processes (FSDP2)."),
        click.option(
            "--device", type=click.Choice(["auto", "cpu"]), help="auto: a GPU where there is one.  [default: auto]"
        ),
        click.option("--seed", type=click.IntRange(0), help="Order of the rows.  [default: 42]"),
        click.option("--resume", is_flag=True, help="Go on with the run in OUTPUT."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def called_as() -> str:
    """The command that is running, for the record."""
    return shlex.join(["mnemic", *sys.argv[1:]])


def run_tuning(tune: Tune, output: Path, records: str, as_json: bool) -> None:
    """Let `tune` work with a display and an ear for signals, and say what came of it, by one process only.

    Args:
        records: what the rows are made of, in one word.
    """
    from transformers.utils.logging import disable_progress_bar

    from mnemic.cli.teach.training_display import TrainingDisplay
    from mnemic.teaching.stop_signals import asked_to_stop_by_signal
    from mnemic.training.progress import Interrupted

    disable_progress_bar()
    with TrainingDisplay(records) as display, asked_to_stop_by_signal() as should_stop:
        try:
            found = tune(display, should_stop)
        except Interrupted as stopped:
            again = shlex.join([*(a for a in sys.argv[1:] if a != "--resume"), "--resume"])
            display.note(f"{stopped}. Go on with:\n  mnemic {again}")
            click.get_current_context().exit(INTERRUPTED)
    if os.environ.get("RANK", "0") == "0":
        _finish(found, output, records, as_json)


def _finish(found: FineTuned, output: Path, records: str, as_json: bool) -> None:
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
        click.echo(f"left out: {count:,} {records}, {reason}", err=True)
    click.echo(f"model: {found.model}, report: {output}/report.html", err=True)
