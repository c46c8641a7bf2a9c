"""The numbers of a comparison, as columns that the terminal and the page share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mnemic.report.records import RECALL
from mnemic.report.summary import Estimate, Group
from mnemic.report.units import (
    bytes_text,
    count_text,
    difference_text,
    latency_text,
    percent_text,
    rate_text,
    score_text,
    seconds_text,
)

__all__ = ["COLUMNS", "Column", "columns_for"]


@dataclass(frozen=True)
class Column:
    """One number of a group.

    Attributes:
        title: its head.
        help: what it measures, in a sentence.
        read: the number in a group, None where it has none.
        write: that number for people.
        is_score: what memories are judged by, from 0 to 1.
        to: what stands between the ends of its interval.
    """

    title: str
    help: str
    read: Callable[[Group], Estimate | float | None]
    write: Callable[[float], str]
    is_score: bool = False
    to: str = "–"

    def text(self, group: Group) -> tuple[str, str]:
        """The number and its interval, each empty where there is none."""
        value = self.read(group)
        if value is None:
            return "", ""
        if isinstance(value, Estimate):
            has_interval = value.low < value.mean or value.high > value.mean
            interval = f"{self.write(value.low)}{self.to}{self.write(value.high)}" if has_interval else ""
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
    first = group.first
    return None if first.asks_for_answers or first.predicts_numbers else group.metric("loss")


def _cost(name: str) -> Callable[[Group], float | None]:
    return lambda group: group.cost(name)


def _llm_calls(group: Group) -> float | None:
    """None where no language model was asked, so that the column is there only where one was."""
    return group.cost("llm_calls") or None


def _llm_tokens(group: Group) -> float | None:
    prompts, replies = group.cost("llm_prompt_tokens"), group.cost("llm_completion_tokens")
    return (prompts or 0) + (replies or 0) or None


def _seeds(group: Group) -> float | None:
    """Recall methods draw nothing at random."""
    return None if group.first.recalls else float(len(group.records))


COLUMNS = {
    "recall": Column("recall", "Share of the asked answers that are right.", _metric("accuracy"), score_text, True),
    "recall@5": Column(
        RECALL,
        "Share of the evidence among the first five passages, or sessions of conversations.",
        _metric(RECALL),
        score_text,
        True,
    ),
    "beside best": Column(
        "beside the best",
        "recall@5 less that of the best, over the same questions; an interval that holds 0 tells no difference.",
        lambda group: group.beside_best,
        difference_text,
        to="…",
    ),
    "recall@2": Column("recall@2", "The same among the first two.", _mean("recall@2"), score_text),
    "recall@10": Column("recall@10", "The same among the first ten.", _mean("recall@10"), score_text),
    "all@5": Column("all@5", "Share of questions whose evidence is all there.", _mean("all@5"), score_text),
    "ndcg@5": Column("NDCG@5", "Discounted gain, as a share of the best possible.", _mean("ndcg@5"), score_text),
    "turns": Column(
        "turn recall@5", "Share of the turns with evidence among the first five.", _mean("turn_recall@5"), score_text
    ),
    "unanswerable": Column(
        "unanswerable recall@5",
        "recall@5 of what questions without an answer are wrongly about.",
        _mean("unanswerable_recall@5"),
        score_text,
    ),
    "rows": Column("whole rows", "Share of sequences with every answer right.", _mean("row_accuracy"), score_text),
    "loss": Column("loss", "Cross-entropy, in nats per token.", _text_loss, score_text),
    "error": Column(
        "squared error",
        "Of what is predicted; 1 is what always saying the mean gives.",
        _metric("squared_error"),
        score_text,
    ),
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
    "passage": Column(
        "held per passage", "Bytes of the store's files for each passage.", _cost("bytes_per_passage"), bytes_text
    ),
    "build": Column(
        "build", "Time to add all passages and answer a first question.", _cost("build_seconds"), seconds_text
    ),
    "write": Column("write", "Median time to add one passage durably.", _cost("write_seconds"), latency_text),
    "write p95": Column("write, p95", "95th percentile of it.", _cost("write_seconds_p95"), latency_text),
    "ask": Column("read", "Median time to recall ten passages.", _cost("read_seconds"), latency_text),
    "ask p95": Column("read, p95", "95th percentile of it.", _cost("read_seconds_p95"), latency_text),
    "calls": Column("LLM calls", "Calls of a language model.", _llm_calls, count_text),
    "tokens": Column("LLM tokens", "Tokens of those calls, prompts and replies.", _llm_tokens, count_text),
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
    "seeds": Column("seeds", "Runs that the row averages.", _seeds, count_text),
}
