"""`mnemic compare`: memories on a task, trained where they stand in a model, and what each recalls beside its cost."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mnemic.catalogue import CORPORA
from mnemic.cli.compare_mad import MAD, compare_mad
from mnemic.cli.compare_output import fail_if_any_failed, interrupted, refuse_what_is_there, slug, write_reports
from mnemic.cli.teach.teacher import server_options
from mnemic.errors import UsageError

if TYPE_CHECKING:
    from mnemic.training.comparison import Comparison

__all__ = ["command"]

_OF_BOTH = {"task", "memories", "output", "resume", "as_json"}
_OF_METHODS = {
    "encoder", "teacher", "model", "api_key_env", "json_mode", "cache", "max_requests", "max_cost", "price",
}  # fmt: skip


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
    "--on", metavar="PLACE", default="local", help="Where runs work: local, ray[:ADDRESS] or slurm[:PARTITION]."
)
@click.option("--track", metavar="NAME", multiple=True, help="tensorboard, wandb or trackio; may be given again.")
@click.option("--encoder", default="wordllama", help="What embeds texts, for recall methods that name none.")
@server_options("OpenAI-compatible server, for recall methods that ask a language model.", required=False)
@click.option(
    "--output", "--out", type=click.Path(path_type=Path), show_default="runs/TASK", help="Folder of the results."
)
@click.option("--resume", is_flag=True, help="Keep the finished runs of the folder and go on with the others.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per judged run on stdout, and nothing else.")
def command(
    task: str, memories: tuple[str, ...], output: Path | None, resume: bool, as_json: bool, **options: Any
) -> None:
    """Ask each MEMORY the same of TASK, after training it if it stands in a model; show what it recalls, at what cost.

    \b
    mnemic compare mqar:pairs=8,length=64,vocab=256 attention mamba2 gated-deltanet
    mnemic compare text:notes/ attention sliding-window:window=32 --seeds 0,1,2
    mnemic compare mqar mamba2:state=16 mamba2:state=64 mamba2+attention
    mnemic compare mad attention mamba2
    mnemic compare corpus:wiki/ bm25 dense rule-graph
    mnemic compare conversation:chat.jsonl hybrid memgas:router=uniform --encoder minilm

    TASK and MEMORY are names with options (see `mnemic list`); a+b are layers that take turns. Models are trained on
    tasks; recall methods answer the questions of a corpus or a conversation, out of a store that is built for each.
    """
    _refuse_options_of_the_other_kind(task)
    if task.partition(":")[0] in CORPORA:
        from mnemic.cli.compare_recall import compare_recall_methods

        encoder, server = options["encoder"], {name: options[name] for name in _OF_METHODS} | {"workers": 1}
        compare_recall_methods(
            task, memories, encoder=encoder, server=server, output=output, resume=resume, as_json=as_json
        )
    elif task.partition(":")[0] == MAD:
        directory = output or Path("runs") / slug(task)
        compare_mad(
            task, lambda one: _compare_models(one, memories, options, directory, resume, as_json), directory, as_json
        )
    else:
        _compare_models(task, memories, options, output, resume, as_json)


def _refuse_options_of_the_other_kind(task: str) -> None:
    """Options that would change nothing are a misunderstanding."""
    context = click.get_current_context()
    asks_methods = task.partition(":")[0] in CORPORA
    foreign = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name is not None
        and parameter.name not in _OF_BOTH
        and (parameter.name in _OF_METHODS) != asks_methods
        and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    if not foreign:
        return
    listed = ", ".join(foreign)
    if asks_methods:
        raise UsageError(f"{listed}: of models that are trained; recall methods on {task} are not, so leave it out")
    raise UsageError(f"{listed}: of recall methods, on corpus:DIR or conversation:FILE; leave it out for {task}")


def _compare_models(
    task: str,
    memories: tuple[str, ...],
    options: dict[str, Any],
    output: Path | None,
    resume: bool,
    as_json: bool,
) -> None:
    from mnemic.training.processes import get_ready

    if options["on"] == "local":
        get_ready()
    from mnemic.cli.live import Display, JsonLines
    from mnemic.training.comparison import compare
    from mnemic.training.runs import results_path

    plan = _plan(task, memories, options)
    directory = output or Path("runs") / slug(plan.task.spec())
    plan.check()
    path = results_path(directory)
    refuse_what_is_there(path, plan.task.spec(), resume)
    lines = JsonLines() if as_json else None
    with Display(plan, directory, lines) as display:
        try:
            records = compare(plan, directory, options["jobs"], display, on=options["on"])
        except KeyboardInterrupt:
            records = None
    write_reports(path, plan.task.spec(), as_json)
    if records is None:
        interrupted()
        return
    fail_if_any_failed(plan.memories, records, path)


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
        options["track"],
    )
