"""Recall beside its cost, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from mnemic.report.columns import COLUMNS, columns_for
from mnemic.report.findings import by_task, leaders
from mnemic.report.records import Record
from mnemic.report.summary import Group, group_runs

__all__ = ["results_table"]

# two numbers share a column, one above the other, so that a row fits into 80 characters
_STACKS: tuple[dict[str, str], ...] = (
    {"recall": "recall"},
    {"recall@5": "R@5"},
    {"beside best": "beside best"},
    {"recall@2": "R@2", "recall@10": "R@10"},
    {"all@5": "all@5", "ndcg@5": "N@5"},
    {"turns": "turns", "unanswerable": "no ans."},
    {"passage": "held", "build": "build"},
    {"write": "write", "ask": "read"},
    {"calls": "calls", "tokens": "tokens"},
    {"rows": "rows"},
    {"loss": "loss"},
    {"error": "error²"},
    {"hits": "on hits", "rest": "on rest"},
    {"share": "hits", "bits": "bits/B"},
    {"memory": "held", "peak": "peak"},
    {"parameters": "params", "seeds": "seeds"},
    {"training": "training", "trained": "train/s"},
    {"read": "read/s", "decoded": "decode/s"},
)


def results_table(records: Sequence[Record]) -> Table:
    """One row per task and memory; the best and those not told apart from it are bold, failed memories come last."""
    tasks = {task: group_runs(runs) for task, runs in by_task(records).items()}
    known = columns_for([group for groups in tasks.values() for group in groups])
    present = [{name: head for name, head in stack.items() if COLUMNS[name] in known} for stack in _STACKS]
    stacks = [stack for stack in present if stack]
    is_one = len(tasks) == 1
    padding = (0, 0 if len(stacks) > 6 else 1, 0, 0)
    title = Text(next(iter(tasks))) if is_one else None
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, padding=padding)
    if not is_one:
        table.add_column("task", overflow="fold", min_width=10, max_width=24)
    longest = max((len(record.memory) for record in records), default=0)
    table.add_column("memory", overflow="fold", min_width=min(longest, 14))
    for stack in stacks:
        table.add_column(_two_lines(*stack.values()), justify="right", no_wrap=True)
    for task, groups in tasks.items():
        first = leaders(groups)
        rows: list[list[Text]] = []
        for group in groups:
            style = "bold" if group in first else ""
            cells = [_cell([COLUMNS[name].text(group) for name in stack], style) for stack in stacks]
            rows.append([Text(group.label, style=style), *cells])
        for memory in _only_failed(records, task, groups):
            rows.append([Text(memory, style="red"), Text("failed", style="red")])
        for number, row in enumerate(rows):
            table.add_row(*([] if is_one else [Text("" if number else task)]), *row)
        table.add_section()
    return table


def _two_lines(above: str, below: str = "", style: str = "") -> Text:
    return Text(above, style=style, justify="right").append(f"\n{below}" if below else "", style="not bold dim")


def _cell(texts: list[tuple[str, str]], style: str) -> Text:
    """A number over its interval, or over another number where two share the column."""
    (value, interval), *below = texts
    return _two_lines(value or "–", below[0][0] if below else interval, style)


def _only_failed(records: Sequence[Record], task: str, groups: Sequence[Group]) -> list[str]:
    finished = {group.first.memory for group in groups}
    failed = (r.memory for r in records if r.task == task and r.status == "failed" and r.memory not in finished)
    return list(dict.fromkeys(failed))
