"""What every build of teaching data asks of its command line: a teacher, what it may cost, going on after a stop."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mnemic.cli.llm_server import LLM_KEY, endpoint_of
from mnemic.cli.teach.parameters import Pairs
from mnemic.errors import UsageError

if TYPE_CHECKING:
    from mnemic.cli.teach.progress import Display
    from mnemic.llm import LLMClient, Price

__all__ = ["INTERRUPTED", "ORACLE", "check_given", "client", "price_of", "resumable", "resume_options",
           "server_options", "teacher_options"]  # fmt: skip

ORACLE = "oracle"
INTERRUPTED = 130
_RESUMING = ("--resume", "--retry-failed", "--force")

F = TypeVar("F", bound=Callable[..., Any])


def _together(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def teacher_options(items: str, known: str) -> Callable[[F], F]:
    """Where the build goes, who teaches, and at what cost.

    Args:
        items: what is worked on, such as "traces".
        known: sources that the oracle knows.
    """
    return _together(
        click.option("--output", "--out", type=click.Path(path_type=Path), required=True, help="Folder of the build."),
        server_options(f"OpenAI-compatible server, or oracle for {known}.", required=True),
        click.option("--workers", type=click.IntRange(1), default=8, help=f"{items.capitalize()} worked on at a time."),
    )


def server_options(meaning: str, *, required: bool) -> Callable[[F], F]:
    """Which language model is asked, and at what cost."""
    return _together(
        click.option("--teacher", metavar="URL", required=required, help=meaning),
        click.option("--model", metavar="NAME", help="Model of that server."),
        click.option("--api-key-env", metavar="NAME", help=f"Variable that holds the key; {LLM_KEY} if it is set."),
        click.option(
            "--json-mode",
            type=click.Choice(["schema", "object", "none"]),
            default="schema",
            help="How the server is asked for JSON.",
        ),
        click.option(
            "--cache",
            type=click.Choice(["read-write", "read", "refresh", "off"]),
            default="read-write",
            help="Use of the replies in OUTPUT/replies.sqlite.",
        ),
        click.option("--max-requests", type=click.IntRange(0), help="Most calls to pay for."),
        click.option("--max-cost", type=click.FloatRange(0), help="Most to spend; needs --price."),
        click.option("--price", metavar="PROMPT,REPLY", type=Pairs(), help="Cost per million tokens, such as 2.5,10."),
    )


def resume_options(function: F) -> F:
    """Going on, and what is printed at the end."""
    return _together(
        click.option("--resume", is_flag=True, help="Go on with the build in OUTPUT."),
        click.option("--retry-failed", is_flag=True, help="Go on, and try again what failed."),
        click.option("--force", is_flag=True, help="Build anew if the options differ; the old build is set aside."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else."),
    )(function)


def check_given(output: Path, given: dict[str, Any]) -> None:
    """Refuse what cannot begin.

    Raises:
        UsageError: a build lies in `output` and nothing says to go on with it, or the teacher has no model.
    """
    if (output / "manifest.json").exists() and not any(given[_name(flag)] for flag in _RESUMING):
        raise UsageError(f"'{output}' already holds a build; add --resume to go on with it, or name another --output")
    if given["teacher"] != ORACLE and not given["model"]:
        raise UsageError(f"--model is missing: which model of {given['teacher']} is to teach?")


def price_of(given: dict[str, Any]) -> Price | None:
    """The teacher's price, where it was given."""
    from mnemic.llm import Price

    if given["price"] is None:
        if given["max_cost"] is not None:
            raise UsageError("--max-cost needs --price PROMPT,REPLY, the cost of a million tokens of each")
        return None
    if len(given["price"]) != 2:
        raise UsageError("--price is two numbers, the cost of a million tokens of prompts and of replies: 2.5,10")
    prompt, completion = given["price"]
    return Price(prompt=prompt, completion=completion)


def client(given: dict[str, Any], output: Path, price: Price | None, stack: ExitStack) -> LLMClient:
    """The client of the server that `--teacher` names, open until the stack is left."""
    from mnemic.llm import Budget, LLMClient, ResponseCache

    endpoint = endpoint_of("--teacher", given["teacher"], given["api_key_env"], max_concurrency=given["workers"])
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


@contextmanager
def resumable(display: Display) -> Iterator[None]:
    """A build that stops early says with which command it goes on."""
    from mnemic.teaching.pipeline import BuildStopped, Interrupted

    try:
        yield
    except BuildStopped as stopped:
        display.close()
        again = shlex.join([*(a for a in sys.argv[1:] if a not in _RESUMING), "--resume"])
        click.echo(f"error: {stopped}. Go on with:\n  mnemic {again}", err=True)
        click.get_current_context().exit(INTERRUPTED if isinstance(stopped, Interrupted) else 1)


def _name(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")
