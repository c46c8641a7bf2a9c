"""`mnemic teach memento build`: reasoning traces in, traces with blocks and mementos out."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnemic.cli.teach.parameters import Pairs
from mnemic.cli.teach.teacher import ORACLE, check_given, client, price_of, resumable, resume_options, teacher_options
from mnemic.errors import MnemicError, UsageError

if TYPE_CHECKING:
    from mnemic.llm import MeteredLLM
    from mnemic.teaching.memento.build import TraceBuild
    from mnemic.teaching.memento.options import BuildOptions

__all__ = ["command"]


@click.command("build", context_settings={"show_default": True})
@click.argument("source")
@teacher_options("traces", "synthetic:…")
@click.option(
    "--format",
    "form",
    type=click.Choice(["trace", "chat", "open-thoughts", "open-mementos"]),
    show_default="by its columns",
    help="Of SOURCE.",
)
@click.option("--split", default="train", help="Of a data set of the hub.")
@click.option("--limit", type=click.IntRange(1), help="So many rows, drawn from all files of SOURCE in turn.")
@click.option("--seed", type=int, default=0, help="Of that draw.")
@click.option("--keep-cjk", is_flag=True, help="Keep traces with Chinese characters.")
@click.option(
    "--answers-per-question", type=click.IntRange(0), default=0, help="At most so many traces of a question; 0: all."
)
@click.option("--whole-questions", is_flag=True, help="Only questions whose answers can all be used.")
@click.option("--count", type=click.IntRange(0), default=0, help="Traces to draw by domain; 0: all.")
@click.option(
    "--domains", metavar="NAME=SHARE,…", type=Pairs(named=True), help="Shares of that draw: math=.667,code=.213."
)
@click.option("--two-pass", is_flag=True, help="Score boundaries twice, in windows of 16 and 11.")
@click.option("--min-tokens", type=click.IntRange(1), default=200, help="Least tokens of a block.")
@click.option(
    "--weight", type=click.FloatRange(0), default=0.5, help="Of uneven block lengths against boundary scores."
)
@click.option("--method", type=click.Choice(["exact", "greedy_dp"]), default="exact", help="How blocks are chosen.")
@click.option(
    "--tokens", metavar="TOKENIZER", show_default="by rule", help="tokenizer.json or model that counts tokens."
)
@click.option("--rounds", type=click.IntRange(1), default=2, help="Judgements of a memento at most.")
@click.option("--threshold", type=click.FloatRange(0, 10), default=8.0, help="Score at which a memento is good enough.")
@click.option("--max-reply-tokens", type=click.IntRange(1), help="Limit of a reply, thinking included.")
@click.option(
    "--min-block-score", type=click.FloatRange(0, 10), default=6.0, help="Least score of any memento of a trace."
)
@click.option("--min-mean-score", type=click.FloatRange(0, 10), default=8.0, help="Least mean score of a trace.")
@click.option(
    "--max-ratio", type=click.FloatRange(0, min_open=True), default=0.6, help="Most memento tokens by block tokens."
)
@resume_options
def command(source: str, output: Path, as_json: bool, **given: Any) -> None:
    """Give the reasoning traces of SOURCE their blocks and mementos.

    \b
    mnemic teach memento build synthetic:count=20 --teacher oracle --output data
    mnemic teach memento build chats.jsonl --teacher http://localhost:8000/v1 --model qwen --output data
    mnemic teach memento build hf:open-thoughts/OpenThoughts3-1.2M --limit 1000 --teacher URL --model NAME --output data

    SOURCE is a .jsonl or .parquet, a folder of them, hf:owner/name, or synthetic:count=10,blocks=5,steps=6,seed=0.
    OUTPUT gets traces.jsonl, traces.rejected.jsonl, report.json, and all that is needed to go on after a stop.
    """
    from mnemic.cli.teach.progress import Display
    from mnemic.cli.teach.sources import is_synthetic, open_traces
    from mnemic.teaching.memento.build import build_traces
    from mnemic.teaching.memento.estimate import estimate
    from mnemic.teaching.memento.oracle import OracleTeacher
    from mnemic.teaching.tokens import token_counter

    if given["teacher"] == ORACLE and not is_synthetic(source):
        raise UsageError(f"--teacher oracle knows synthetic traces only; '{source}' needs the URL of a server")
    check_given(output, given)
    options, price = _options(given), price_of(given)
    counter = token_counter(options.tokens)
    traces = open_traces(source, given)
    with ExitStack() as stack:
        oracle = given["teacher"] == ORACLE
        teacher = OracleTeacher(traces.synthetic) if oracle else client(given, output, price, stack)
        display = stack.enter_context(Display())
        display.introduce(source, output, teacher.model, counter.name)
        display.expect(estimate(traces.some(), options, counter), traces.count, price)
        display.start()
        with resumable(display):
            build = build_traces(
                traces.records(), output, teacher, options=options, counter=counter, total=traces.count,
                workers=given["workers"], retry_failed=given["retry_failed"], force=given["force"], on_progress=display,
            )  # fmt: skip
    _finish(build, output, teacher, as_json)


def _options(given: dict[str, Any]) -> BuildOptions:
    from mnemic.options import validated
    from mnemic.teaching.memento.options import BuildOptions

    writing = {name: given[name] for name in ("rounds", "threshold")} | {"max_tokens": given["max_reply_tokens"]}
    kept = {name: given[name] for name in ("min_block_score", "min_mean_score", "max_ratio")}
    own = {name: given[name] for name in ("two_pass", "min_tokens", "weight", "method", "tokens")}
    return validated("build", BuildOptions, {**own, "writing": writing, "filter": kept})


def _finish(build: TraceBuild, output: Path, teacher: MeteredLLM, as_json: bool) -> None:
    from dataclasses import asdict

    from mnemic.cli.teach.validate import print_report

    if as_json:
        click.echo(json.dumps({"output": str(output), "calls": asdict(teacher.totals), **build.summary()}))
    else:
        print_report(build.report)
    click.echo(f"traces: {output}/traces.jsonl, report: {output}/report.json", err=True)
    if not build.report.ok:
        reasons = ", ".join(f"{reason} ({n})" for reason, n in build.report.dropped.items()) or "the source is empty"
        raise MnemicError(f"no trace came through: {reasons}; {output}/traces.rejected.jsonl says more")
