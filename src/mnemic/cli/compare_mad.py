"""`mnemic compare mad`: the tasks of MAD one after another, and the score that they make together."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click

from mnemic.errors import MnemicError

__all__ = ["MAD", "compare_mad"]

MAD = "mad"


def compare_mad(spec: str, compare: Callable[[str], None], directory: Path, as_json: bool) -> None:
    """
    Args:
        compare: one task, which leaves its records in `directory`.

    Raises:
        MnemicError: some runs failed; the other tasks are done all the same.
    """
    from rich.console import Console

    from mnemic.report.mad_score import mad_scores, mad_sheet
    from mnemic.report.records import read_records
    from mnemic.report.sheets import sheet_table
    from mnemic.tasks.mad import mad_settings

    failed: list[str] = []
    for task in mad_settings(spec):
        try:
            compare(task.spec())
        except MnemicError as error:
            if not (directory / "results.jsonl").exists():
                raise  # nothing could begin
            failed.append(str(error))
    records = read_records(directory / "results.jsonl")
    if as_json:
        for score in mad_scores(records):
            click.echo(json.dumps({"task": spec, "score": score.score, **asdict(score)}))
    elif sheet := mad_sheet(records):
        Console(highlight=False).print(sheet_table(sheet))
    if failed:
        raise MnemicError(f"{len(failed)} of the tasks had runs that failed; the first: {failed[0]}")
