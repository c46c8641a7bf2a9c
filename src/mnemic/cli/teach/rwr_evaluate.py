"""`mnemic teach rwr evaluate`: how well a model recalls, by kind of question and by length."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnemic.cli.llm_server import LLM_KEY, endpoint_of
from mnemic.cli.teach.parameters import Decimate
from mnemic.errors import UsageError

if TYPE_CHECKING:
    from mnemic.llm import LLMClient
    from mnemic.teaching.rwr.evaluation.answerers import Answerer
    from mnemic.teaching.rwr.evaluation.judging import LLMJudge
    from mnemic.teaching.tokens import TokenCounter

__all__ = ["command"]

_INTERRUPTED = 130


@click.command("evaluate", context_settings={"show_default": True})
@click.argument("checkpoint", required=False)
@click.option("--data", metavar="NAME:WHERE", required=True, help="Questions; see below.")
@click.option("--output", "--out", type=click.Path(path_type=Path), required=True, help="Folder of the results.")
@click.option("--endpoint", metavar="URL", help="OpenAI-compatible server that answers, in place of CHECKPOINT.")
@click.option("--model", metavar="NAME", help="Model of that server.")
@click.option("--predictions", type=click.Path(path_type=Path), help="Answers given before: .jsonl of id and answer.")
@click.option("--rules", is_flag=True, help="A reader by rule answers; it knows miniature: and short: only.")
@click.option("--recent", type=click.IntRange(1), help="Tokens that the reader by rule holds.")
@click.option(
    "--mode",
    type=click.Choice(["note", "direct", "segments"]),
    default="note",
    help="A note and then the answer; the answer at once; or notes on segments, and the answer from them.",
)
@click.option(
    "--segment-tokens", type=click.IntRange(1), help="Of a segment; otherwise 6,000, or what the training tokens leave."
)
@click.option(
    "--query-position",
    type=click.Choice(["after", "before", "both"]),
    show_default="as taught, else after",
    help="Where the question stands, seen from the context; of CHECKPOINT.",
)
@click.option(
    "--training-tokens",
    type=click.IntRange(1),
    show_default="by its rwr.json",
    help="What CHECKPOINT was trained on: scores by its multiples.",
)
@click.option(
    "--decimate",
    type=Decimate(),
    metavar="KEEP[,LAYER]",
    help="DeciMamba, of CHECKPOINT: so many tokens of a prompt go on behind a layer; without LAYER, the middle one.",
)
@click.option("--max-new-tokens", type=click.IntRange(1), default=512, help="Of a reply.")
@click.option("--judge", metavar="URL", help="OpenAI-compatible server that judges; otherwise texts are compared.")
@click.option("--judge-model", metavar="NAME", help="Model of that server.")
@click.option("--api-key-env", metavar="NAME", help=f"Variable that holds the key; {LLM_KEY} if it is set.")
@click.option(
    "--compare", "other", metavar="FOLDER", type=click.Path(path_type=Path), help="Show what changed since that OUTPUT."
)
@click.option("--limit", type=click.IntRange(1), help="So many questions, drawn with --seed.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of that draw.")
@click.option("--tier", type=click.Choice(["small", "medium"]), default="small", help="Of longmemeval-v2.")
@click.option(
    "--without-known-bad", is_flag=True, help="Leave out what LongMemEval's users found to be labelled wrong."
)
@click.option("--workers", type=click.IntRange(1), default=8, help="Questions asked at a time.")
@click.option("--retry-failed", is_flag=True, help="Ask again what failed.")
@click.option("--force", is_flag=True, help="Evaluate anew if OUTPUT holds another evaluation; that is set aside.")
@click.option("--device", default="auto", help="auto: a GPU where there is one.")
@click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(checkpoint: str | None, data: str, output: Path, other: Path | None, as_json: bool, **given: Any) -> None:
    """Ask CHECKPOINT, or a server, questions about long histories, and score the answers.

    \b
    mnemic teach rwr evaluate --rules --data miniature:length=1000 --output scores
    mnemic teach rwr evaluate my-model --data longmemeval:longmemeval_oracle.json --mode segments --output scores
    mnemic teach rwr evaluate --endpoint URL --model NAME --data helmet:data/kilt --output scores

    --data is miniature:like=longmemeval,count=70,length=500-1000,seed=0 (or like=helmet), short:like=copy-recall-qa
    (contexts of a line or two), longmemeval:FILE, longmemeval-v2:FOLDER, helmet:FILE-OR-FOLDER or
    convomem:FILE-OR-FOLDER; hf:owner/name where it is on the hub.
    OUTPUT gets results.jsonl, a line per question, and summary.json. Run again, it goes on where it stopped.
    """
    from mnemic.cli.teach.progress import Display
    from mnemic.cli.teach.rwr_compare import print_comparison
    from mnemic.cli.teach.rwr_scores import print_summary
    from mnemic.teaching.pipeline import BuildStopped, Interrupted
    from mnemic.teaching.rwr.evaluation.comparing import compare, read_results
    from mnemic.teaching.rwr.evaluation.evaluate import evaluate
    from mnemic.teaching.rwr.evaluation.longmemeval import KNOWN_BAD
    from mnemic.teaching.rwr.evaluation.questions import open_questions

    _check_who(checkpoint, given)
    given |= _as_taught(checkpoint, given)
    before = read_results(other) if other is not None else None
    exclude = KNOWN_BAD if given["without_known_bad"] else frozenset()
    items = open_questions(data, limit=given["limit"], seed=given["seed"], tier=given["tier"], exclude=exclude)
    with ExitStack() as stack:
        answerer, client, counter = _answerer(checkpoint, given, output, stack)
        judge, judging = _judge(given, output, stack)
        display = stack.enter_context(Display("questions"))
        try:
            found = evaluate(
                items, answerer, output, judge=judge, training_length=given["training_tokens"], counter=counter,
                workers=given["workers"], retry_failed=given["retry_failed"], force=given["force"],
                llm=client or judging, on_progress=display,
            )  # fmt: skip
        except BuildStopped as stopped:
            display.close()
            click.echo(f"error: {stopped}", err=True)
            click.get_current_context().exit(_INTERRUPTED if isinstance(stopped, Interrupted) else 1)
    if not as_json:
        print_summary(found.summary)
    change = compare(before, found.rows, given["training_tokens"]) if before is not None else None
    if as_json:
        comparison = {"comparison": {"before": str(other), **change.as_json()}} if change else {}
        click.echo(json.dumps({"output": str(output), "data": data, **found.summary.as_json(), **comparison}))
    elif change:
        print_comparison(change)
    click.echo(f"results: {output}/results.jsonl, summary: {output}/summary.json", err=True)


def _check_who(checkpoint: str | None, given: Mapping[str, Any]) -> None:
    ways = {
        "CHECKPOINT": checkpoint, "--endpoint": given["endpoint"], "--predictions": given["predictions"],
        "--rules": given["rules"],
    }  # fmt: skip
    chosen = [name for name, value in ways.items() if value]
    if len(chosen) != 1:
        raise UsageError(f"who answers? give one of {', '.join(ways)}, not {' and '.join(chosen) or 'none'}")
    for server, model in (("endpoint", "model"), ("judge", "judge_model")):
        if bool(given[server]) != bool(given[model]):
            raise UsageError(f"--{server} URL and --{model.replace('_', '-')} NAME belong together")
    if given["recent"] and not given["rules"]:
        raise UsageError("--recent is of the reader by rule; add --rules")
    if given["decimate"] and checkpoint is None:
        raise UsageError("--decimate drops tokens inside a CHECKPOINT; name one")
    if given["query_position"] and checkpoint is None:
        raise UsageError("--query-position is where the question stands in the prompt of a CHECKPOINT; name one")


def _as_taught(checkpoint: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    from mnemic.teaching.rwr.rwr_file import as_taught

    if checkpoint is None:
        return {}
    taught = as_taught(checkpoint, given["query_position"], given["training_tokens"])
    known = {"training_tokens": taught.training_tokens} if taught.is_known else {}
    return {"query_position": taught.query_position, **known}


def _answerer(
    checkpoint: str | None, given: Mapping[str, Any], output: Path, stack: ExitStack
) -> tuple[Answerer, LLMClient | None, TokenCounter | None]:
    """Who answers, the client behind it, and what counts tokens as it does."""
    from mnemic.teaching.rwr.evaluation.answerers import LLMAnswerer, Predictions
    from mnemic.teaching.rwr.evaluation.rule_reader import RuleReader

    shared = {"mode": given["mode"], **_known(segment_tokens=given["segment_tokens"])}
    if checkpoint is not None:
        from mnemic.teaching.memento.served_model import load_served_model
        from mnemic.teaching.rwr.decimation import Decimation
        from mnemic.teaching.rwr.evaluated_checkpoint import CheckpointAnswerer

        served = load_served_model(checkpoint, device=given["device"], dtype=given["dtype"])
        limits = {name: given[name] for name in ("max_new_tokens", "query_position")}
        limits |= _known(training_tokens=given["training_tokens"])
        if given["decimate"]:
            limits["decimation"] = Decimation(**given["decimate"])
        own = CheckpointAnswerer(served.model, served.tokenizer, name=checkpoint, **shared, **limits)
        return own, None, own.counter
    if given["predictions"]:
        return Predictions(given["predictions"]), None, None
    if given["rules"]:
        return RuleReader(given["recent"]), None, None
    client = _client("--endpoint", given["endpoint"], given["model"], given, output, stack)
    return LLMAnswerer(client, max_tokens=given["max_new_tokens"], **shared), client, None


def _known(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _judge(given: Mapping[str, Any], output: Path, stack: ExitStack) -> tuple[LLMJudge | None, LLMClient | None]:
    from mnemic.teaching.rwr.evaluation.judging import LLMJudge

    if not given["judge"]:
        return None, None
    client = _client("--judge", given["judge"], given["judge_model"], given, output, stack)
    return LLMJudge(client), client


def _client(option: str, url: str, model: str, given: Mapping[str, Any], output: Path, stack: ExitStack) -> LLMClient:
    from mnemic.llm import LLMClient, ResponseCache

    endpoint = endpoint_of(option, url, given["api_key_env"], max_concurrency=given["workers"])
    return stack.enter_context(LLMClient(endpoint, model, cache=ResponseCache(output / "replies.sqlite")))
