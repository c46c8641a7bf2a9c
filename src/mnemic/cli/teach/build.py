"""`mnemic teach memento build`: reasoning traces in, traces with blocks and mementos out."""

from __future__ import annotations

import json
import os
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnemic.cli.teach.parameters import Pairs
from mnemic.errors import MnemicError, UsageError

if TYPE_CHECKING:
    from mnemic.cli.teach.sources import Traces
    from mnemic.llm import Price
    from mnemic.teaching.memento.build import Teacher, TraceBuild
    from mnemic.teaching.memento.options import BuildOptions

__all__ = ["command"]

ORACLE = "oracle"
INTERRUPTED = 130
_KEY = "OPENAI_API_KEY"
_RESUMING = ("--resume", "--retry-failed", "--force")


@click.command("build", context_settings={"show_default": True})
@click.argument("source")
@click.option("--output", "--out", type=click.Path(path_type=Path), required=True, help="Folder of the build.")
@click.option("--teacher", metavar="URL", required=True, help="OpenAI-compatible server, or oracle for synthetic:….")
@click.option("--model", metavar="NAME", help="Model of that server.")
@click.option("--api-key-env", metavar="NAME", help=f"Variable that holds the key; {_KEY} if it is set.")
@click.option(
    "--json-mode",
    type=click.Choice(["schema", "object", "none"]),
    default="schema",
    help="How the server is asked for JSON.",
)
@click.option(
    "--cache",
    type=click.Choice(["read-write", "read", "refresh", "off"]),
    default="read-write",
    help="Use of the replies in OUTPUT/replies.sqlite.",
)
@click.option("--max-requests", type=click.IntRange(0), help="Most calls to pay for.")
@click.option("--max-cost", type=click.FloatRange(0), help="Most to spend; needs --price.")
@click.option("--price", metavar="PROMPT,REPLY", type=Pairs(), help="Cost per million tokens, such as 2.5,10.")
@click.option("--workers", type=click.IntRange(1), default=8, help="Traces worked on at a time.")
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
@click.option("--resume", is_flag=True, help="Go on with the build in OUTPUT.")
@click.option("--retry-failed", is_flag=True, help="Go on, and try again what failed.")
@click.option("--force", is_flag=True, help="Build anew if the options differ; the old build is set aside.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
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
    from mnemic.teaching.pipeline import BuildStopped, Interrupted
    from mnemic.teaching.tokens import token_counter

    if (output / "manifest.json").exists() and not any(given[_name(flag)] for flag in _RESUMING):
        raise UsageError(f"'{output}' already holds a build; add --resume to go on with it, or name another --output")
    if given["teacher"] == ORACLE and not is_synthetic(source):
        raise UsageError(f"--teacher oracle knows synthetic traces only; '{source}' needs the URL of a server")
    if given["teacher"] != ORACLE and not given["model"]:
        raise UsageError(f"--model is missing: which model of {given['teacher']} is to teach?")
    options, price = _options(given), _price(given)
    counter = token_counter(options.tokens)
    traces = open_traces(source, given)
    with ExitStack() as stack:
        teacher = _teacher(given, traces, output, price, stack)
        display = stack.enter_context(Display())
        display.introduce(source, output, teacher.model, counter.name)
        display.expect(estimate(traces.some(), options, counter), traces.count, price)
        try:
            build = build_traces(
                traces.records(), output, teacher, options=options, counter=counter, total=traces.count,
                workers=given["workers"], retry_failed=given["retry_failed"], force=given["force"], on_progress=display,
            )  # fmt: skip
        except BuildStopped as stopped:
            display.close()
            again = shlex.join([*(a for a in sys.argv[1:] if a not in _RESUMING), "--resume"])
            click.echo(f"error: {stopped}. Go on with:\n  mnemic {again}", err=True)
            click.get_current_context().exit(INTERRUPTED if isinstance(stopped, Interrupted) else 1)
    _finish(build, output, teacher, as_json)


def _options(given: dict[str, Any]) -> BuildOptions:
    from mnemic.options import validated
    from mnemic.teaching.memento.options import BuildOptions

    writing = {name: given[name] for name in ("rounds", "threshold")} | {"max_tokens": given["max_reply_tokens"]}
    kept = {name: given[name] for name in ("min_block_score", "min_mean_score", "max_ratio")}
    own = {name: given[name] for name in ("two_pass", "min_tokens", "weight", "method", "tokens")}
    return validated("build", BuildOptions, {**own, "writing": writing, "filter": kept})


def _price(given: dict[str, Any]) -> Price | None:
    from mnemic.llm import Price

    if given["price"] is None:
        if given["max_cost"] is not None:
            raise UsageError("--max-cost needs --price PROMPT,REPLY, the cost of a million tokens of each")
        return None
    if len(given["price"]) != 2:
        raise UsageError("--price is two numbers, the cost of a million tokens of prompts and of replies: 2.5,10")
    prompt, completion = given["price"]
    return Price(prompt=prompt, completion=completion)


def _teacher(given: dict[str, Any], traces: Traces, output: Path, price: Price | None, stack: ExitStack) -> Teacher:
    from mnemic.llm import Budget, Endpoint, LLMClient, ResponseCache
    from mnemic.options import validated
    from mnemic.teaching.memento.oracle import OracleTeacher

    if given["teacher"] == ORACLE:
        return OracleTeacher(traces.synthetic)
    key = given["api_key_env"] or (_KEY if os.environ.get(_KEY) else None)
    where = {"base_url": given["teacher"], "api_key_env": key, "max_concurrency": given["workers"]}
    endpoint = validated(f"--teacher {given['teacher']}", Endpoint, where)
    prices = {given["model"]: price} if price is not None else None
    budget = Budget(max_requests=given["max_requests"], max_cost=given["max_cost"], prices=prices)
    return stack.enter_context(
        LLMClient(
            endpoint,
            given["model"],
            cache=ResponseCache(output / "replies.sqlite"),
            cache_mode=given["cache"],
            budget=budget,
            json_mode=given["json_mode"],
        )
    )


def _finish(build: TraceBuild, output: Path, teacher: Teacher, as_json: bool) -> None:
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


def _name(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")
