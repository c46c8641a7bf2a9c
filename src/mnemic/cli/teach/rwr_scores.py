"""What an evaluation found, for people: scores, abstaining, failures, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mnemic.teaching.rwr.evaluation.summary import Summary

__all__ = ["print_summary"]

_METRICS = ("f1", "substring")


def print_summary(summary: Summary) -> None:
    """A row per group of questions, then what is to be said of abstaining, of failures and of the cost."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for number, name in enumerate(("questions", "n", "score", "95 %", "by", *_METRICS)):
        table.add_column(name, justify="left" if number in (0, 4) else "right", no_wrap=True)
    for name, group in summary.groups.items():
        table.add_row(name, *_cells(group))
    Console(highlight=False).print(table)
    said = summary.abstention
    click.echo(
        f"abstained {said['abstained']} times, {said['unanswerable']} questions have no answer: "
        f"precision {_share(said['precision'])}, recall {_share(said['recall'])}"
    )
    if said["unanswerable"] and len(summary.abstention_by_length) > 1:
        for name, part in summary.abstention_by_length.items():
            click.echo(f"  {name}: precision {_share(part['precision'])}, recall {_share(part['recall'])}")
    if summary.category_mean is not None:
        click.echo(f"mean of the categories: {summary.category_mean:.3f}")
    if summary.failed:
        click.echo(f"{summary.failed} questions failed and are in no mean; results.rejected.jsonl says why")
    for line in _cost(summary.cost):
        click.echo(line)


def _cost(cost: Mapping[str, Any]) -> Iterator[str]:
    """What is known of tokens, seconds and bytes."""
    speed, parts = cost["speed"] or {}, []
    for verb, tokens, rate in (
        ("read", cost["prompt_tokens"], speed.get("prefill_per_second")),
        ("wrote", cost["completion_tokens"], speed.get("decode_per_second")),
    ):
        if tokens is not None:
            parts.append(f"{verb} {tokens:,} tokens" + (f" at {rate:,.0f}/s" if rate else ""))
    if cost["seconds"] is not None:
        parts.append(f"{cost['seconds']:.1f} s for all questions")
    if parts:
        yield "; ".join(parts)
    if speed:
        state = f"state: {cost['state_bytes']:,} bytes" if cost["state_bytes"] else "no state of constant size"
        yield f"{state}; held after a context: {speed['held_bytes']:,} bytes at most"


def _cells(group: Mapping[str, Any]) -> tuple[str, ...]:
    metrics = (_share(group["metrics"].get(name)) for name in _METRICS)
    interval, by = f"{group['low']:.2f}–{group['high']:.2f}", group["scored_by"]
    return f"{group['n']:,}", f"{group['score']:.3f}", interval, by[0] if len(by) == 1 else "several", *metrics


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
