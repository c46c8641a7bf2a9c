"""The numbers of a comparison, as columns that the terminal and the page share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mnemic.report.summary import Estimate, Group
from mnemic.report.units import bytes_text, count_text, percent_text, rate_text, score_text, seconds_text

__all__ = ["COLUMNS", "Column", "columns_for"]


@dataclass(frozen=True)
class Column:
    """One number of a group.

    Attributes:
        title: its head.
        help: what it measures, in a sentence.
        read: the number in a group, None where it has none.
        write: that number for people.
    """

    title: str
    help: str
    read: Callable[[Group], Estimate | float | None]
    write: Callable[[float], str]

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
    return [column for column in COLUMNS.values() if any(column.read(group) is not None for group in groups)]


def _metric(name: str) -> Callable[[Group], Estimate | None]:
    return lambda group: group.metric(name)


def _mean(name: str) -> Callable[[Group], float | None]:
    """For numbers that runs report without an interval."""
    return lambda group: estimate.mean if (estimate := group.metric(name)) else None


def _text_loss(group: Group) -> Estimate | None:
    return None if group.first.asks_for_answers else group.metric("loss")


def _cost(name: str) -> Callable[[Group], float | None]:
    return lambda group: group.cost(name)


COLUMNS = {
    "recall": Column("recall", "Share of the asked answers that are right.", _metric("accuracy"), score_text),
    "rows": Column("whole rows", "Share of sequences with every answer right.", _mean("row_accuracy"), score_text),
    "loss": Column("loss", "Cross-entropy, in nats per token.", _text_loss, score_text),
    "hits": Column(
        "loss on recall hits",
        "Loss on tokens that complete a rare sequence seen before in the same context.",
        _metric("recall_hit_loss"),
        score_text,
    ),
    "rest": Column("loss on the rest", "Loss on all other tokens.", _metric("other_loss"), score_text),
    "share": Column("hit share", "Share of tokens that are recall hits.", _mean("recall_hit_share"), percent_text),
    "bits": Column("bits per byte", "Loss per byte of text, whatever the tokens.", _mean("bits_per_byte"), score_text),
    "memory": Column(
        "held per sequence", "Bytes held per sequence of the task's length.", _cost("memory_bytes"), bytes_text
    ),
    "parameters": Column("parameters", "Parameters of the whole model.", _cost("parameters"), count_text),
    "training": Column("training", "Wall time of training.", _cost("train_seconds"), seconds_text),
    "trained": Column(
        "training tokens/s", "Tokens trained on per second.", _cost("train_tokens_per_second"), rate_text
    ),
    "read": Column(
        "reading tokens/s", "Tokens read per second, whole sequences at once.", _cost("tokens_per_second"), rate_text
    ),
    "decoded": Column(
        "decoding tokens/s", "Tokens per second, one at a time.", _cost("decode_tokens_per_second"), rate_text
    ),
    "peak": Column(
        "peak memory",
        "By how much the process grew while it trained, or the most that the device held.",
        _cost("peak_memory_bytes"),
        bytes_text,
    ),
    "seeds": Column("seeds", "Runs that the row averages.", lambda group: float(len(group.records)), count_text),
}
