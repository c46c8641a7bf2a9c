"""`mnemic compare corpus:DIR METHOD…` and `conversation:FILE METHOD…`: recall methods on questions with evidence."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mnemic.cli.compare_output import fail_if_any_failed, interrupted, refuse_what_is_there, slug, write_reports
from mnemic.cli.teach.teacher import client, price_of
from mnemic.errors import UsageError

__all__ = ["compare_recall_methods"]


def compare_recall_methods(
    task: str,
    methods: Sequence[str],
    *,
    encoder: str,
    server: dict[str, Any],
    output: Path | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Ask every method the task's questions; show what each recalls beside what it costs.

    Args:
        server: `--teacher` and the options around it.
    """
    from mnemic.cli.recall_display import Display
    from mnemic.comparing.comparison import RecallComparison, compare_recall, results_path
    from mnemic.comparing.methods import parse_method
    from mnemic.storage.corpora.sources import parse_source

    source = parse_source(task)
    assert source is not None
    if (server["teacher"] is None) != (server["model"] is None):
        raise UsageError("--teacher URL and --model NAME belong together")
    directory = output or Path("runs") / slug(task)
    path = results_path(directory)
    with ExitStack() as stack:
        price = price_of(server)
        specs = tuple(parse_method(method, encoder) for method in methods)
        asked = client(server, directory, price, stack) if server["teacher"] is not None else None
        plan = RecallComparison(task, source, specs, asked, shlex.join(["mnemic", *sys.argv[1:]]))
        plan.check()
        refuse_what_is_there(path, task, resume)
        with Display(plan, directory, as_json) as display:
            try:
                records = compare_recall(plan, directory, display)
            except KeyboardInterrupt:
                records = None
    write_reports(path, task, as_json)
    if records is None:
        interrupted()
        return
    fail_if_any_failed([spec.text for spec in specs], records, path)
