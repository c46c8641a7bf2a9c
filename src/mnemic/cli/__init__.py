"""The command line: a table of verbs, each imported when it is called, and what a user sees when one fails."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import Any, NoReturn

import click

from mnemic.catalogue import EXTRA_OF
from mnemic.cli.lazy import LazyGroup
from mnemic.errors import MissingExtra, MnemicError, UsageError
from mnemic.version import __version__

__all__ = ["VERBS", "cli", "main"]

VERBS = {
    "compare": ("mnemic.cli.compare", "Train memories on a task; show what each recalls beside what it costs."),
    "train": ("mnemic.cli.train", "Train one model as a YAML file describes it."),
    "ask": ("mnemic.cli.ask", "Ask a language model about needles in haystacks, phonebooks and other text."),
    "teach": ("mnemic.cli.teach", "Teach a model to use its memory: MEMENTO, Recall with Reasoning."),
    "serve-model": ("mnemic.cli.serve_model", "Serve a taught model to OpenAI's clients, evicting as it writes."),
    "reproduce": ("mnemic.cli.reproduce", "Test the claims of a paper."),
    "remember": ("mnemic.cli.memory.remember", "Keep files in a memory store: text, Markdown, HTML, PDF, chats."),
    "recall": ("mnemic.cli.memory.recall", "Ask the store a question."),
    "forget": ("mnemic.cli.memory.forget", "Recall events no more."),
    "erase": ("mnemic.cli.memory.erase", "Delete events from the store for good."),
    "serve": ("mnemic.cli.serve", "Serve the store over REST and MCP, with a page to look at it."),
    "keys": ("mnemic.cli.keys", "Keys that open one tenant's memory on a server."),
    "history": ("mnemic.cli.memory.history", "Who changed what in the store, and when."),
    "stats": ("mnemic.cli.memory.stats", "How much the store holds."),
    "jobs": ("mnemic.cli.memory.jobs", "Work of the store that waits for a language model."),
    "backup": ("mnemic.cli.memory.backup", "Copy the whole store."),
    "export": ("mnemic.cli.memory.export", "Write a tenant's memory as JSON lines."),
    "import": ("mnemic.cli.memory.import_", "Take in what export wrote."),
    "list": ("mnemic.cli.list", "The memories, tasks and studies that mnemic has."),
    "show": ("mnemic.cli.show", "One memory, task or study: what it is, its paper, its options."),
}

INTERRUPTED = 130


class Verbs(LazyGroup):
    """The verbs, and what a user sees when one fails."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            if ctx.params["debug"]:
                traceback.print_exc()
            message, code = explain(error, ctx.invoked_subcommand)
            click.echo(f"error: {message}", err=True)
            ctx.exit(code)
        except KeyboardInterrupt:
            click.echo("\ninterrupted; what was finished is kept", err=True)
            ctx.exit(INTERRUPTED)


def explain(error: Exception, verb: str | None) -> tuple[str, int]:
    """What to say about an error, and the exit code: 1 the work failed, 2 wrong use."""
    match error:
        case UsageError():
            return str(error), 2
        case MnemicError():
            return str(error), 1
        case click.ClickException():
            command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "mnemic"
            return f"{error.format_message()}\ntry: {command} --help", error.exit_code
        case ModuleNotFoundError() if (package := (error.name or "").partition(".")[0]) in EXTRA_OF:
            return str(MissingExtra(f"mnemic {verb}", EXTRA_OF[package])), 2
        case OSError(errno=errno.ENOSPC):
            return f"the disk is full{_where(error)}; finished runs are kept, free some space and run it again", 1
        case OSError(errno=int(), strerror=str(reason)):
            return f"{reason[:1].lower()}{reason[1:]}{_where(error)}", 1
        case MemoryError():
            return "out of memory; a smaller batch, length or width needs less", 1
    first_line = str(error).strip().partition("\n")[0]
    bug = f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
    debug = f"mnemic --debug {verb or ''}".rstrip()
    hint = f"this is a bug in mnemic; `{debug} …` shows where, CONTRIBUTING.md says how to report it"
    return f"{bug}\n{hint}", 1


def _where(error: OSError) -> str:
    return f": '{os.fspath(error.filename)}'" if isinstance(error.filename, str | os.PathLike) else ""


@click.group(cls=Verbs, verbs=VERBS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mnemic", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Memory for language models: what it recalls, and what it costs.

    \b
    mnemic compare mqar:pairs=8,length=64,vocab=256 attention mamba2
    mnemic list
    """


def main() -> NoReturn:
    """The console script."""
    cli.main(prog_name="mnemic")
    sys.exit(0)
