"""The command line as a page of the documentation: `python -m mnemic.cli.reference > docs/command-line.md`.

A test holds the page equal to what this writes, so no verb or option appears, changes or goes unseen.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from mnemic.cli import cli

__all__ = ["page"]

INTRODUCTION = """\
# Command line

Exit codes: 0 done; 1 the work failed, or a claim does not hold under `--strict`; 2 wrong use; 130 interrupted.
With `--json` a command prints JSON on standard output and nothing else there.
A task or a memory takes options after a colon: `mqar:pairs=8,length=64`, `sliding-window:window=32`;
`mnemic show NAME` lists them. `mnemic --debug …` prints the traceback of an error.
"""


def page() -> str:
    """Markdown with one section per verb, those of groups included."""
    sections = ("\n".join(_section(name, command)) for name, command in _commands("mnemic", cli))
    return "\n".join([INTRODUCTION, *sections])


def _commands(name: str, group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """Every command below a group, a group before its own."""
    context = click.Context(group, info_name=name)
    for verb in group.list_commands(context):
        command = group.get_command(context, verb)
        assert command is not None
        yield f"{name} {verb}", command
        if isinstance(command, click.Group):
            yield from _commands(f"{name} {verb}", command)


def _section(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=name, **command.context_settings)
    yield f"## {name}\n"
    yield f"{_paragraphs(command.help or '')}\n"
    yield f"```text\n{' '.join([name, *command.collect_usage_pieces(context)])}\n```\n"
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
