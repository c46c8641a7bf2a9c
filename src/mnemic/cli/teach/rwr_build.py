"""`mnemic teach rwr build`: contexts and questions in, rows with notes and answers out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnemic.cli.teach.teacher import ORACLE, check_given, client, price_of, resumable, resume_options, teacher_options
from mnemic.errors import MnemicError, UsageError

if TYPE_CHECKING:
    from mnemic.llm import MeteredLLM
    from mnemic.teaching.rwr.build import RecallBuild
    from mnemic.teaching.rwr.examples import Example
    from mnemic.teaching.rwr.histories import History
    from mnemic.teaching.rwr.options import MixtureRules, RecallOptions

__all__ = ["command"]

Read = Callable[[], "Iterator[Example]"]


@click.command("build", context_settings={"show_default": True})
@click.argument("source")
@teacher_options("examples", "histories:…")
@click.option(
    "--format", "form", type=click.Choice(["recall", "open-orca"]), show_default="by its columns", help="Of SOURCE."
)
@click.option("--split", default="train", help="Of a data set of the hub.")
@click.option("--limit", type=click.IntRange(1), help="So many rows, drawn from all files of SOURCE in turn.")
@click.option("--seed", type=int, default=0, help="Of that draw, of distractors and of the mixture.")
@click.option("--max-length", type=click.IntRange(1), default=6000, help="Most tokens of context, query and answer.")
@click.option("--max-note-tokens", type=click.IntRange(1), default=512, help="Most tokens of a note.")
@click.option(
    "--tokens", metavar="TOKENIZER", show_default="by rule", help="tokenizer.json or model that counts tokens."
)
@click.option("--no-verifier", is_flag=True, help="Keep only notes in which the answer stands word for word.")
@click.option(
    "--method",
    type=click.Choice(["string", "llm"]),
    default="string",
    help="How evidence is found: by the words of the answer, or also by the teacher.",
)
@click.option(
    "--replacement",
    type=click.Choice(["distractor", "drop"]),
    default="distractor",
    help="What stands where evidence stood: as many words of another context, or nothing.",
)
@click.option(
    "--most-removed",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    help="Share of passages above which an answer is everywhere.",
)
@click.option("--max-reply-tokens", type=click.IntRange(1), help="Limit of a reply, thinking included.")
@click.option("--empty-ratio", type=click.FloatRange(0, 1), default=0.3, help="Share of empty notes among all notes.")
@click.option("--plain-ratio", type=click.FloatRange(0, 1), default=0.5, help="Share of rows without a note.")
@resume_options
def command(source: str, output: Path, as_json: bool, **given: Any) -> None:
    """Give the questions of SOURCE notes of what their context says, and some of them contexts without the answer.

    \b
    mnemic teach rwr build histories:count=20,tokens=1000 --teacher oracle --output data
    mnemic teach rwr build questions.jsonl --teacher http://localhost:8000/v1 --model qwen --output data
    mnemic teach rwr build hf:Open-Orca/OpenOrca --limit 1000 --teacher URL --model NAME --output data

    SOURCE is a .jsonl or .parquet with context, query and answer (and aliases), or with OpenOrca's columns; a folder
    of them, hf:owner/name, or histories:count=10,tokens=1000,questions=5,style=dialogue,seed=0.
    OUTPUT gets recall.jsonl, recall.rejected.jsonl, report.json, and all that is needed to go on after a stop. Another
    --empty-ratio or --plain-ratio with --resume mixes the rows anew and asks the teacher nothing.
    """
    from mnemic.cli.teach.progress import Display
    from mnemic.teaching.rwr.build import build_recall
    from mnemic.teaching.rwr.oracle import OracleTeacher
    from mnemic.teaching.tokens import token_counter

    check_given(output, given)
    options, mixture = _options(given)
    price = price_of(given)
    counter = token_counter(options.tokens)
    known, read, count = _examples(source, given)
    with ExitStack() as stack:
        teacher = OracleTeacher(known) if given["teacher"] == ORACLE else client(given, output, price, stack)
        display = stack.enter_context(Display("examples"))
        display.introduce(source, output, teacher.model, counter.name)
        display.start()
        with resumable(display):
            build = build_recall(
                read, output, teacher, options=options, mixture=mixture, counter=counter, total=count,
                workers=given["workers"], retry_failed=given["retry_failed"], force=given["force"], on_progress=display,
            )  # fmt: skip
    _finish(build, output, teacher, as_json)


def _options(given: dict[str, Any]) -> tuple[RecallOptions, MixtureRules]:
    from mnemic.options import validated
    from mnemic.teaching.rwr.options import MixtureRules, RecallOptions

    names = ("max_length", "max_note_tokens", "method", "replacement", "most_removed", "tokens", "max_reply_tokens")
    own = {name: given[name] for name in (*names, "seed")} | {"verify": not given["no_verifier"]}
    shares = {name: given[name] for name in ("empty_ratio", "plain_ratio", "seed")}
    return validated("build", RecallOptions, own), validated("build", MixtureRules, shares)


def _examples(source: str, given: dict[str, Any]) -> tuple[list[History], Read, int | None]:
    """The truth where it is known, the examples, and how many they are where that need not be downloaded."""
    from mnemic.teaching.rwr.examples import examples_of, read_examples
    from mnemic.teaching.rwr.histories import HISTORIES, histories, history_rules
    from mnemic.teaching.sources import HUB

    if source.partition(":")[0] == HISTORIES:
        known = list(histories(history_rules(source)))
        return known, lambda: examples_of(known), sum(len(history.questions) for history in known)
    if given["teacher"] == ORACLE:
        raise UsageError(f"--teacher oracle knows histories only; '{source}' needs the URL of a server")

    def read() -> Iterator[Example]:
        chosen = {name: given[name] for name in ("limit", "seed", "split")}
        return read_examples(source, format=given["form"], **chosen)

    on_the_hub = source.startswith(HUB)
    return [], read, given["limit"] if on_the_hub else sum(1 for _ in read())


def _finish(build: RecallBuild, output: Path, teacher: MeteredLLM, as_json: bool) -> None:
    from dataclasses import asdict

    from mnemic.cli.teach.validate import print_report

    if as_json:
        click.echo(json.dumps({"output": str(output), "calls": asdict(teacher.totals), **build.summary()}))
    else:
        print_report(build.report)
    made = ", ".join(f"{count:,} {kind}" for kind, count in build.made.items())
    click.echo(f"rows that could be made: {made}", err=True)
    click.echo(f"rows: {output}/recall.jsonl, report: {output}/report.json", err=True)
    if not build.report.ok:
        reasons = ", ".join(f"{reason} ({n})" for reason, n in build.report.dropped.items()) or "the source is empty"
        raise MnemicError(f"no row came of it: {reasons}; {output}/recall.rejected.jsonl says more")
