"""The command line as a page of the documentation: `python -m mnemic.cli.reference > docs/command-line.md`.

A test holds the page equal to what this writes, so no verb or option appears, changes or goes unseen.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from mnemic.cli import VERBS, cli

__all__ = ["page"]

INTRODUCTION = """\
# Command line

Exit codes: 0 done; 1 the work failed, or a claim does not hold under `--strict`; 2 wrong use; 130 interrupted.
With `--json` a command prints JSON on standard output and nothing else there.
A task or a memory takes options after a colon: `mqar:pairs=8,length=64`, `sliding-window:window=32`;
`mnemic show NAME` lists them. `mnemic --debug …` prints the traceback of an error.
"""


def page() -> str:
    """Markdown with one section per verb."""
    context = click.Context(cli, info_name="mnemic")
    sections = [INTRODUCTION]
    for verb in VERBS:
        command = cli.get_command(context, verb)
        assert command is not None
        sections.append("\n".join(_section(verb, command)))
    return "\n".join(sections)


def _section(verb: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=f"mnemic {verb}", **command.context_settings)
    yield f"## mnemic {verb}\n"
    yield f"{_paragraphs(command.help or VERBS[verb][1])}\n"
    yield f"```text\n{' '.join([f'mnemic {verb}', *command.collect_usage_pieces(context)])}\n```\n"
    options = [o.get_help_record(context) for o in command.params if isinstance(o, click.Option)]
    if options:
        yield "| option | meaning |"
        yield "|---|---|"
        yield from (f"| `{_cell(flags)}` | {_cell(meaning)} |" for flags, meaning in filter(None, options))
        yield ""


def _paragraphs(text: str) -> str:
    """Help text without click's marks against rewrapping; what they protect becomes a block of code."""
    parts = []
    for part in inspect.cleandoc(text).split("\n\n"):
        kept = part.removeprefix("\b\n")
        parts.append(kept if kept == part else f"```text\n{kept}\n```")
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
