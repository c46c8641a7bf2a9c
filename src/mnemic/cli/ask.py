"""`mnemic ask`: a language model answers the questions of text tasks."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnemic.cli.llm_server import LLM_KEY, endpoint_of
from mnemic.errors import UsageError

if TYPE_CHECKING:
    from mnemic.llm import LLMClient
    from mnemic.tasks import TaskConfig
    from mnemic.teaching.asking.answerers import Answerer
    from mnemic.teaching.asking.summing_up import Summary

__all__ = ["command"]

_INTERRUPTED = 130


@click.command("ask", context_settings={"show_default": True})
@click.argument("tasks", metavar="TASK…", nargs=-1, required=True)
@click.option("--model", metavar="NAME", help="A transformers model, by folder or name; with --endpoint, its model.")
@click.option("--endpoint", metavar="URL", help="OpenAI-compatible server that answers.")
@click.option("--api-key-env", metavar="NAME", help=f"Variable that holds the key; {LLM_KEY} if it is set.")
@click.option("--count", type=click.IntRange(1), default=100, help="Questions of each task.")
@click.option("--split", type=click.Choice(["train", "valid", "test"]), default="test", help="Of the task.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the questions.")
@click.option("--output", "--out", type=click.Path(path_type=Path), help="Folder.  [default: runs/ask-MODEL]")
@click.option("--max-new-tokens", type=click.IntRange(1), help="Of a reply.  [default: what the task states]")
@click.option("--chat/--no-chat", default=None, help="Use the model's chat template.  [default: where it has one]")
@click.option("--workers", type=click.IntRange(1), default=8, help="Questions asked of a server at a time.")
@click.option("--retry-failed", is_flag=True, help="Ask again what failed.")
@click.option("--force", is_flag=True, help="Ask anew if the folder holds other answers; those are set aside.")
@click.option("--device", default="auto", help="auto: a GPU where there is one.")
@click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(tasks: tuple[str, ...], output: Path | None, as_json: bool, **given: Any) -> None:
    """Ask a language model the questions of each TASK, and score its answers.

    \b
    mnemic ask needle:length=4096 needle:length=8192 --model my-model
    mnemic ask needle:preset=multikey_2,length=8192 --endpoint URL --model NAME
    mnemic ask phonebook:entries=70 question-answering:my.jsonl --model my-model --count 50

    TASK is needle, variable-tracking, phonebook, frequent-words or question-answering, with options (see `mnemic
    show`). A task that does not say how it counts its length counts the tokens of a model of this machine, and four
    bytes a token for a server. The folder gets results.jsonl and summary.json for each task; run again, it goes on.
    """
    from mnemic.cli.teach.progress import Display
    from mnemic.tasks import parse_task
    from mnemic.teaching.asking.asking import ask_task, questions_of
    from mnemic.teaching.pipeline import BuildStopped, Interrupted

    if not given["model"]:
        raise UsageError("--model is missing: which one is to answer? With --endpoint it is the server's name for it")
    chosen = [_counted(parse_task(spec), given) for spec in tasks]
    if len({task.spec() for task in chosen}) < len(chosen):
        raise UsageError("a task is given twice")
    for task in chosen:
        questions_of(task, given["split"], 0)  # a task without text is refused before a model is loaded
    root = output or Path("runs") / f"ask-{_slug(Path(given['model']).name)}"
    summaries: list[Summary] = []
    with ExitStack() as stack:
        answerer, client = _answerer(given, root, stack)
        for task in chosen:
            with Display("questions") as display:
                try:
                    found = ask_task(
                        task, answerer, root / _slug(task.spec()), count=given["count"], split=given["split"],
                        seed=given["seed"], workers=given["workers"] if client else 1,
                        retry_failed=given["retry_failed"], force=given["force"], llm=client, on_progress=display,
                    )  # fmt: skip
                except BuildStopped as stopped:
                    display.close()
                    click.echo(f"error: {stopped}; run it again to go on", err=True)
                    click.get_current_context().exit(_INTERRUPTED if isinstance(stopped, Interrupted) else 1)
            summaries.append(found.summary)
    _show(summaries, as_json, root)


def _counted(task: TaskConfig, given: dict[str, Any]) -> TaskConfig:
    """The task with its length in the tokens of who answers, where it does not say."""
    base = getattr(task, "base", None)
    if base is not None:  # modifiers stand around it
        return task.replace(base=_counted(base, given))
    if "tokenizer" not in type(task).model_fields or "tokenizer" in task.model_fields_set:
        return task
    return task.replace(tokenizer="approximate" if given["endpoint"] else given["model"])


def _answerer(given: dict[str, Any], root: Path, stack: ExitStack) -> tuple[Answerer, LLMClient | None]:
    from mnemic.teaching.asking.answerers import ModelAnswerer, ServerAnswerer

    if not given["endpoint"]:
        from mnemic.teaching.memento.served_model import load_served_model

        served = load_served_model(given["model"], device=given["device"], dtype=given["dtype"])
        limits = {"chat": given["chat"], "max_tokens": given["max_new_tokens"]}
        return ModelAnswerer(served.model, served.tokenizer, name=given["model"], **limits), None
    if given["chat"] is not None:
        raise UsageError("--chat is of a model on this machine; a server uses its model's template by itself")
    from mnemic.llm import LLMClient, ResponseCache

    endpoint = endpoint_of("--endpoint", given["endpoint"], given["api_key_env"], max_concurrency=given["workers"])
    client = LLMClient(endpoint, given["model"], cache=ResponseCache(root / "replies.sqlite"))
    stack.enter_context(client)
    return ServerAnswerer(client, max_tokens=given["max_new_tokens"]), client


def _show(summaries: list[Summary], as_json: bool, root: Path) -> None:
    from mnemic.teaching.asking.lengths import by_length, depth_map

    lengths, depths = by_length(summaries), depth_map(summaries)
    if as_json:
        told = {"effective_length": lengths.effective} if lengths else {}
        click.echo(json.dumps({"output": str(root), "tasks": [s.as_json() for s in summaries], **told}))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("task", "score", "95 %", "exact", "precision", "f1", "questions", "failed"):
        table.add_column(heading, overflow="fold" if heading == "task" else "ellipsis")
    for s in summaries:
        precision = "–" if s.precision is None else f"{s.precision:.1f}"
        interval = f"{s.score.low:.1f}–{s.score.high:.1f}"
        numbers = (f"{s.score.mean:.1f}", interval, f"{s.exact:.1f}", precision, f"{s.f1:.1f}")
        table.add_row(s.task, *numbers, f"{s.count:,}", f"{s.failed:,}" if s.failed else "")
    console.print(table)
    for line in depths:
        console.print(line, soft_wrap=True)
    if lengths:
        console.print(lengths.sentence(), soft_wrap=True)
    click.echo(f"answers: {root}/*/results.jsonl", err=True)


def _slug(spec: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", spec).strip("-.")[-80:].strip("-.")
