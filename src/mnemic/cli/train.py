"""`mnemic train`: one model, as a YAML file describes it."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnemic.cli.yaml_file import read_yaml
from mnemic.errors import UsageError, nearest

if TYPE_CHECKING:
    from mnemic.report.records import Record
    from mnemic.training.progress import Progress
    from mnemic.training.runs import RunSpec

__all__ = ["command", "read_config"]

INTERRUPTED = 130
_SECTIONS = ("task", "model", "training", "test_rows", "output")
_LINE_SECONDS = 2.0


@click.command("train")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--output", "--out", type=click.Path(path_type=Path), help="Folder of the run, not the file's own.")
@click.option("--resume", is_flag=True, help="Go on from the folder's newest checkpoint.")
@click.option("--track", metavar="NAME", multiple=True, help="tensorboard, wandb or trackio; may be given again.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(config: Path, output: Path | None, resume: bool, track: tuple[str, ...], as_json: bool) -> None:
    """Train one model as the YAML file CONFIG describes it.

    \b
    task: mqar:pairs=8,length=64,vocab=256
    model: {memory: gated-deltanet, width: 64, depth: 2}
    training: {steps: 500, lr: 0.003, seed: 0}
    output: runs/my-model

    The folder gets model/ (for from_pretrained), results.jsonl and report.html. On many devices, start it with
    `accelerate launch -m mnemic train CONFIG` or `torchrun -m mnemic train CONFIG`.
    """
    from mnemic.training.progress import Interrupted
    from mnemic.training.runs import run

    spec, named = read_config(config)
    spec = replace(spec, track=track)
    directory = output or named or Path("runs") / config.stem
    spec.check()
    _prepare(directory, resume)
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        record = run(spec, directory, on_progress=_Lines(), should_stop=stop.is_set)
    except Interrupted as stopped:
        again = shlex.join([*(a for a in sys.argv[1:] if a != "--resume"), "--resume"])
        click.echo(f"{stopped}. Go on with:\n  mnemic {again}", err=True)
        click.get_current_context().exit(INTERRUPTED)
    if os.environ.get("RANK", "0") == "0":
        _finish(record, directory, as_json)


def read_config(path: Path) -> tuple[RunSpec, Path | None]:
    """The run that a YAML file describes, and the folder it names.

    Raises:
        UsageError: the file cannot be read, or a key or value in it is wrong; the message names it.
    """
    from mnemic.options import validated
    from mnemic.training.config import TrainConfig
    from mnemic.training.runs import RunSpec
    from mnemic.training.shell import Shell

    data = read_yaml(path, f"the sections {', '.join(_SECTIONS)}")
    for key in data:
        if key not in _SECTIONS:
            raise UsageError(f"{path}: there is no section '{key}'{nearest(str(key), _SECTIONS)}")
    model = _section(data, "model", path)
    memory, layers = model.pop("memory", None), model.pop("layers", None)
    if (memory is None) == (layers is None):
        raise UsageError(
            f"{path}: model needs either 'memory' (a name with options) or 'layers' (a list), and not both"
        )
    if layers is not None:
        if not (isinstance(layers, list) and layers and all(isinstance(x, dict) and "mixer" in x for x in layers)):
            raise UsageError(f"{path}: model.layers must be a list such as [{{mixer: mamba2, heads: 4}}]")
        memory = "+".join(str(layer["mixer"]) for layer in layers)
        model.setdefault("depth", max(Shell().depth, len(layers)))
    rows = data.get("test_rows", 1000)
    if not isinstance(rows, int) or rows < 1:
        raise UsageError(f"{path}: test_rows is {rows!r}; it must be a whole number from 1")
    output = data.get("output")
    spec = RunSpec(
        task=_task(data, path),
        memory=str(memory),
        shell=validated(f"{path}: model", Shell, model),
        training=validated(f"{path}: training", TrainConfig, _section(data, "training", path)),
        test_rows=rows,
        layers=tuple(layers) if layers is not None else None,
        command=shlex.join(["mnemic", *sys.argv[1:]]),
    )
    return spec, Path(str(output)) if output is not None else None


def _section(data: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    section = data.get(name) or {}
    if not isinstance(section, dict):
        raise UsageError(f"{path}: {name} is {section!r}; it must be a mapping of options")
    return dict(section)


def _task(data: dict[str, Any], path: Path) -> Any:
    from mnemic.catalogue import find_task, resolve
    from mnemic.tasks import parse_task

    task = data.get("task")
    if isinstance(task, str):
        return parse_task(task)
    if isinstance(task, dict) and isinstance(task.get("name"), str):
        return resolve(find_task(task["name"]).target)(**{key: value for key, value in task.items() if key != "name"})
    raise UsageError(
        f"{path}: task is {task!r}; write it as on the command line (mqar:pairs=8), or as a mapping with a name"
    )


def _prepare(directory: Path, resume: bool) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ".writable").touch()
        (directory / ".writable").unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to the folder '{directory}': {error.strerror}; name another one") from error
    if not resume and ((directory / "results.jsonl").exists() or (directory / "checkpoints").exists()):
        raise UsageError(f"'{directory}' already holds a run; add --resume to go on with it, or name another --output")


class _Lines:
    """Progress on stderr, every few seconds and after every evaluation; of many processes only the first speaks."""

    def __init__(self) -> None:
        self.said_at = 0.0
        self.evaluated: tuple[float | None, float | None] | None = None
        self.warned: set[str] = set()

    def __call__(self, progress: Progress) -> None:
        for warning in set(progress.warnings) - self.warned:
            self.warned.add(warning)
            click.echo(f"note: {warning}", err=True)
        now, evaluated = time.monotonic(), (progress.valid_loss, progress.valid_accuracy)
        if os.environ.get("RANK", "0") != "0" or (now - self.said_at < _LINE_SECONDS and evaluated == self.evaluated):
            return
        self.said_at, self.evaluated = now, evaluated
        numbers = {
            "train loss": progress.train_loss,
            "valid loss": progress.valid_loss,
            "valid accuracy": progress.valid_accuracy,
        }
        said = ", ".join(f"{name} {value:.3f}" for name, value in numbers.items() if value is not None)
        click.echo(f"{progress.phase} step {progress.step} of {progress.steps}: {said}", err=True)


def _finish(record: Record, directory: Path, as_json: bool) -> None:
    from rich.console import Console

    from mnemic.cli.live import JsonLines
    from mnemic.report.html import write_report
    from mnemic.report.tables import results_table

    write_report([record], directory / "report.html", f"mnemic: {record.memory} on {record.task}")
    if as_json:
        JsonLines()(record)
    else:
        Console(highlight=False).print(results_table([record]))
    click.echo(f"model: {directory}/model, report: {directory}/report.html", err=True)
