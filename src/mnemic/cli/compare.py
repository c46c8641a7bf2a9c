"""`mnemic compare`: train memories on a task, and show what each recalls beside what it costs."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnemic.errors import MnemicError, UsageError

if TYPE_CHECKING:
    from mnemic.report.records import Record
    from mnemic.training.comparison import Comparison

__all__ = ["command"]

INTERRUPTED = 130


class Numbers(click.ParamType[tuple[float, ...]]):
    """ "0,1,2" as a tuple of numbers."""

    def __init__(self, kind: type[int] | type[float]) -> None:
        self.kind = kind
        self.name = f"{kind.__name__},…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.kind(part) for part in str(value).split(",") if part.strip())
        except ValueError:
            example = "0,1,2" if self.kind is int else "1e-3,3e-3"
            self.fail(f"'{value}' is not a list of numbers such as {example}", param, ctx)


@click.command("compare", context_settings={"show_default": True})
@click.argument("task")
@click.argument("memories", metavar="MEMORY…", nargs=-1, required=True)
@click.option("--seeds", type=Numbers(int), default="0", help="Seeds of the judged runs.")
@click.option("--lr-grid", type=Numbers(float), default="1e-3,3e-3,1e-2", help="Learning rates to choose from.")
@click.option("--budget", metavar="STEPS", type=click.IntRange(1), default=500, help="Training steps of every run.")
@click.option("--batch-size", type=click.IntRange(1), default=64, help="Rows of a training step.")
@click.option("--accumulation", type=click.IntRange(1), default=1, help="Pieces of a batch, to save memory.")
@click.option(
    "--stop-at", type=click.FloatRange(0, 1), default=0.99, help="Validation accuracy that ends a run; 0: none."
)
@click.option("--width", type=click.IntRange(1), default=64, help="Size of the residual stream.")
@click.option("--depth", type=click.IntRange(1), default=2, help="Layers.")
@click.option(
    "--feed-forward", type=click.IntRange(0), show_default="4 times the width", help="Its inner size; 0: none."
)
@click.option("--conv", type=click.IntRange(0), default=4, help="Taps of each memory's short convolution; 0: none.")
@click.option("--init", type=click.Choice(["auto", "small", "normal"]), default="auto", help="Initial weights.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", help="Of the forward pass.")
@click.option("--compile", "compiled", is_flag=True, help="torch.compile the models.")
@click.option("--device", type=click.Choice(["auto", "cpu"]), default="auto", help="auto: an accelerator, if any.")
@click.option("--test-rows", type=click.IntRange(1), default=1000, help="Rows that judge, as far as there are.")
@click.option("--jobs", type=click.IntRange(1), show_default="one per core or accelerator", help="Runs side by side.")
@click.option(
    "--output", "--out", type=click.Path(path_type=Path), show_default="runs/TASK", help="Folder of the results."
)
@click.option("--resume", is_flag=True, help="Keep the finished runs of the folder and go on with the others.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per judged run on stdout, and nothing else.")
def command(
    task: str,
    memories: tuple[str, ...],
    output: Path | None,
    jobs: int | None,
    resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train each MEMORY on TASK under one budget; show what it recalls beside what it costs.

    \b
    mnemic compare mqar:pairs=8,length=64,vocab=256 attention mamba2 gated-deltanet
    mnemic compare text:notes/ attention sliding-window:window=32 --seeds 0,1,2
    mnemic compare mqar mamba2:state=16 mamba2:state=64 mamba2+attention

    TASK and MEMORY are names with options (see `mnemic list`); a+b are layers that take turns.
    """
    from mnemic.training.processes import get_ready

    get_ready()
    from mnemic.cli.live import Display, JsonLines
    from mnemic.training.comparison import compare
    from mnemic.training.runs import results_path

    plan = _plan(task, memories, options)
    directory = output or Path("runs") / _slug(plan.task.spec())
    plan.check()
    _refuse_what_is_there(results_path(directory), plan, resume)
    lines = JsonLines() if as_json else None
    with Display(plan, directory, lines) as display:
        try:
            records = compare(plan, directory, jobs, display)
        except KeyboardInterrupt:
            records = None
    _write_reports(directory, plan, as_json)
    if records is None:
        again = shlex.join([*(a for a in sys.argv[1:] if a != "--resume"), "--resume"])
        click.echo(f"interrupted; what was finished is kept. Go on with:\n  mnemic {again}", err=True)
        click.get_current_context().exit(INTERRUPTED)
    _fail_if_any_failed(plan, records, directory)


def _plan(task: str, memories: tuple[str, ...], options: dict[str, Any]) -> Comparison:
    from mnemic.options import validated
    from mnemic.tasks import parse_task
    from mnemic.training.comparison import Comparison
    from mnemic.training.config import TrainConfig
    from mnemic.training.shell import Shell

    shell = {name: options[name] for name in ("width", "depth", "feed_forward", "conv", "init")}
    training = {name: options[name] for name in ("batch_size", "accumulation", "precision", "device")}
    training |= {"steps": options["budget"], "compile": options["compiled"], "stop_at": options["stop_at"] or None}
    return Comparison(
        parse_task(task),
        memories,
        options["seeds"],
        options["lr_grid"],
        validated("the shell", Shell, shell),
        validated("training", TrainConfig, training),
        options["test_rows"],
        shlex.join(["mnemic", *sys.argv[1:]]),
    )


def _refuse_what_is_there(path: Path, plan: Comparison, resume: bool) -> None:
    from mnemic.report.records import read_records

    there = [record for record in read_records(path) if record.task == plan.task.spec()]
    if there and not resume:
        raise UsageError(
            f"{path} already holds {len(there)} runs of {plan.task.spec()}; add --resume to keep them and run what is "
            f"missing, or name another folder with --output"
        )


def _write_reports(directory: Path, plan: Comparison, as_json: bool) -> None:
    from rich.console import Console
    from rich.markup import escape

    from mnemic.report.findings import warnings_about
    from mnemic.report.html import write_report
    from mnemic.report.records import read_records
    from mnemic.report.tables import results_table
    from mnemic.training.runs import results_path

    records = read_records(results_path(directory))
    if not records:
        return
    path = directory / "report.html"
    write_report(records, path, f"mnemic: {directory.name}")
    of_task = [record for record in records if record.task == plan.task.spec()]
    messages = Console(stderr=True, highlight=False)
    if not as_json:
        Console(highlight=False).print(results_table(of_task))
    for warning in warnings_about(of_task):
        messages.print(f"[yellow]note:[/] {escape(warning)}")
    messages.print(f"report: {path}", soft_wrap=True)


def _fail_if_any_failed(plan: Comparison, records: list[Record], directory: Path) -> None:
    judged = {record.memory for record in records if record.status == "done"}
    failed = [record for record in records if record.status == "failed"]
    never = [memory for memory in plan.memories if memory not in judged]
    if failed or never:
        names = ", ".join(dict.fromkeys([*(record.memory for record in failed), *never]))
        raise MnemicError(
            f"not every run finished: {names}; see {directory}/results.jsonl, and run it again with --resume"
        )


def _slug(spec: str) -> str:
    """A task as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", spec).strip("-.")[:80]
