"""What every comparison leaves behind, whatever was compared: its folder, table, notes, page and exit code."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnemic.errors import MissingExtra, MnemicError, UsageError

if TYPE_CHECKING:
    from mnemic.report.records import Record

__all__ = ["fail_if_any_failed", "interrupted", "refuse_what_is_there", "slug", "write_reports"]

_INTERRUPTED = 130


def refuse_what_is_there(path: Path, task: str, resume: bool) -> None:
    """
    Raises:
        UsageError: the results hold runs of this task, and nothing says to keep them.
    """
    from mnemic.report.records import read_records

    there = [record for record in read_records(path) if record.task == task]
    if there and not resume:
        raise UsageError(
            f"{path} already holds {len(there)} runs of {task}; add --resume to keep them and run what is "
            f"missing, or name another folder with --output"
        )


def write_reports(path: Path, task: str, as_json: bool) -> None:
    """The table of a task on stdout, notes on stderr, and the page of all results beside them."""
    from rich.console import Console
    from rich.markup import escape

    from mnemic.report.findings import warnings_about
    from mnemic.report.html import write_report
    from mnemic.report.records import read_records
    from mnemic.report.tables import results_table

    records = read_records(path)
    if not records:
        return
    of_task = [record for record in records if record.task == task]
    messages = Console(stderr=True, highlight=False)
    if not as_json:
        Console(highlight=False).print(results_table(of_task))
    for warning in warnings_about(of_task):
        messages.print(f"[yellow]note:[/] {escape(warning)}")
    page = path.with_name("report.html")
    try:
        write_report(records, page, f"mnemic: {path.parent.name}")
    except MissingExtra as missing:  # recall methods need nothing that draws; the results are complete without
        messages.print(f"[yellow]note:[/] {escape(str(missing))}", soft_wrap=True)
    else:
        messages.print(f"report: {page}", soft_wrap=True)


def interrupted() -> None:
    """Say how to go on, and end."""
    again = shlex.join([*(a for a in sys.argv[1:] if a != "--resume"), "--resume"])
    click.echo(f"interrupted; what was finished is kept. Go on with:\n  mnemic {again}", err=True)
    click.get_current_context().exit(_INTERRUPTED)


def fail_if_any_failed(memories: Sequence[str], records: Sequence[Record], path: Path) -> None:
    """
    Raises:
        MnemicError: a memory failed, or was never judged.
    """
    judged = {record.memory for record in records if record.status == "done"}
    failed = [record for record in records if record.status == "failed"]
    never = [memory for memory in memories if memory not in judged]
    if failed or never:
        names = ", ".join(dict.fromkeys([*(record.memory for record in failed), *never]))
        raise MnemicError(f"not every run finished: {names}; see {path}, and run it again with --resume")


def slug(spec: str) -> str:
    """A task as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", spec).strip("-.")[:80]
