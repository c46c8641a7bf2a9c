"""Recall beside its cost, as columns that the terminal and the HTML page share, and the terminal's table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from mnemic.report.findings import by_task, leaders
from mnemic.report.records import Record
from mnemic.report.summary import Estimate, Group, group_runs
from mnemic.report.units import bytes_text, count_text, rate_text, score_text, seconds_text

__all__ = ["Column", "columns_for", "results_table"]


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        title: its head; a line feed breaks it.
        help: what it measures, in a sentence.
        read: the number in a group, None where it has none.
        write: that number for people.
        bar: whether the page draws the interval on a scale from 0 to 1.
    """

    title: str
    help: str
    read: Callable[[Group], Estimate | float | None]
    write: Callable[[float], str]
    bar: bool = False

    def text(self, group: Group) -> tuple[str, str]:
        """The number and its interval, each empty where there is none."""
        value = self.read(group)
        if value is None:
            return "", ""
        if isinstance(value, Estimate):
            has_interval = value.low < value.mean or value.high > value.mean
            interval = f"{self.write(value.low)}–{self.write(value.high)}" if has_interval else ""
            return self.write(value.mean), interval
        return self.write(value), ""


def columns_for(groups: Sequence[Group]) -> list[Column]:
    """The columns of which at least one group has a number."""
    return [column for column in _COLUMNS if any(column.read(group) is not None for group in groups)]


def results_table(records: Sequence[Record]) -> Table:
    """One row per task and memory, the best and those not told apart from it in bold; failed memories at the end."""
    tasks = {task: group_runs(runs) for task, runs in by_task(records).items()}
    columns = columns_for([group for groups in tasks.values() for group in groups])
    table = Table(title=Text(next(iter(tasks))) if len(tasks) == 1 else None, title_justify="left", header_style="bold")
    if len(tasks) > 1:
        table.add_column("task", overflow="fold")
    table.add_column("memory", no_wrap=True)
    for column in columns:
        table.add_column(Text(column.title, justify="right"), justify="right")
    for task, groups in tasks.items():
        first = leaders(groups)
        for group in groups:
            style = "bold" if group in first else ""
            cells = [_cell(column.text(group), style) for column in columns]
            table.add_row(*([Text(task)] if len(tasks) > 1 else []), Text(group.label, style=style), *cells)
        finished = {record.memory for group in groups for record in group.records}
        for memory in _failed(records, task, finished):
            table.add_row(
                *([Text(task)] if len(tasks) > 1 else []), Text(memory, style="red"), Text("failed", style="red")
            )
        table.add_section()
    return table


def _cell(text: tuple[str, str], style: str) -> Text:
    value, interval = text
    cell = Text(value or "–", style=style)
    return cell.append(f"\n{interval}", style="not bold dim") if interval else cell


def _failed(records: Sequence[Record], task: str, finished: set[str]) -> list[str]:
    failed = (r.memory for r in records if r.task == task and r.status == "failed" and r.memory not in finished)
    return list(dict.fromkeys(failed))


def _metric(name: str) -> Callable[[Group], Estimate | None]:
    return lambda group: group.metric(name)


def _text_metric(name: str) -> Callable[[Group], Estimate | None]:
    return lambda group: None if group.first.asks_for_answers else group.metric(name)


def _cost(name: str) -> Callable[[Group], float | None]:
    return lambda group: group.cost(name)


def _percent(value: float) -> str:
    return f"{value:.1%}"


_COLUMNS = (
    Column(
        "recall",
        "Share of asked answers that are right, and its 95 % interval.",
        _metric("accuracy"),
        score_text,
        bar=True,
    ),
    Column("whole\nrows", "Share of sequences with every answer right.", _metric("row_accuracy"), score_text),
    Column("loss", "Cross-entropy in nats per token, and its 95 % interval.", _text_metric("loss"), score_text),
    Column(
        "loss on\nrecall hits",
        "Loss on tokens that complete a rare pair seen before in the same context.",
        _metric("recall_hit_loss"),
        score_text,
    ),
    Column("loss on\nthe rest", "Loss on all other tokens.", _metric("other_loss"), score_text),
    Column("hit\nshare", "Share of tokens that are recall hits.", _metric("recall_hit_share"), _percent),
    Column(
        "bits per\nbyte", "Loss per byte of text, comparable between tokenizers.", _metric("bits_per_byte"), score_text
    ),
    Column("memory per\nsequence", "Bytes held per sequence at the task's length.", _cost("memory_bytes"), bytes_text),
    Column("parameters", "Parameters of the whole model.", _cost("parameters"), count_text),
    Column("training", "Wall time of training.", _cost("train_seconds"), seconds_text),
    Column(
        "training\ntokens/s", "Tokens per second, forward and backward.", _cost("train_tokens_per_second"), rate_text
    ),
    Column(
        "forward\ntokens/s", "Tokens per second, forward over whole sequences.", _cost("tokens_per_second"), rate_text
    ),
    Column(
        "decode\ntokens/s",
        "Tokens per second, one at a time from memory.",
        _cost("decode_tokens_per_second"),
        rate_text,
    ),
    Column("peak\nmemory", "Most memory of the process during the run.", _cost("peak_memory_bytes"), bytes_text),
    Column("seeds", "Runs that the row averages.", lambda group: float(len(group.records)), count_text),
)
