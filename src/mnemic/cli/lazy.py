"""A group of commands that reads their names and one line of help from a table, and imports each when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from mnemic.errors import UsageError, nearest

__all__ = ["LazyGroup", "VerbTable"]

VerbTable = Mapping[str, tuple[str, str]]  # name → (module whose `command` it is, one line of help)


class LazyGroup(click.Group):
    """Args:
    verbs: the table; entries added later are seen.
    """

    def __init__(self, *args: Any, verbs: VerbTable, **options: Any) -> None:
        super().__init__(*args, **options)
        self.verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.verbs:
            return None
        command = import_module(self.verbs[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.verbs:
            raise UsageError(f"unknown command '{args[0]}'{nearest(args[0], self.verbs)}")
        ctx.invoked_subcommand = args[0]  # so that a failing import of the verb can name it
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, line) for verb, (_, line) in self.verbs.items()])
