"""Segmented summarisation for answering: a note on every segment from a fresh state, the answer from the notes.

The memory that this takes does not depend on the length of the context: segments are cut as they are needed, read a
batch at a time, and of each only its note is kept. Source: Recall with Reasoning (arXiv 2505.03320), SSA.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from mnemic.errors import UsageError
from mnemic.teaching.rwr.completion import Decoding, Speed, complete
from mnemic.teaching.rwr.layout import QueryPosition
from mnemic.teaching.rwr.segment_forms import Segment, SegmentForm, TextForm

__all__ = ["SSAProgress", "SSAResult", "SegmentOptions", "segmented_answer", "segmented_answers"]

C = TypeVar("C")
_BATCHES_AHEAD = 8  # segments of so many batches are sorted by length together, so that little is padded
_SHRINKS = 0.9  # a round of notes on notes that leaves more than this of them would go on for ever


class SegmentOptions(BaseModel):
    """How a context is cut, and what may be written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    training_tokens: int = Field(6000, ge=8, description="tokens of prompt and reply that the model was trained on")
    segment_tokens: int | None = Field(
        None, ge=1, description="tokens of a segment; None: what the query and a note leave of training_tokens"
    )
    note_tokens: int = Field(256, ge=1, description="tokens of a note, at most")
    answer_tokens: int = Field(128, ge=1, description="tokens of the answer, at most")
    batch_size: int = Field(8, ge=1, description="segments that are read at once")
    temperature: float = Field(0.0, ge=0, description="0: the likeliest token each time")
    seed: int = Field(0, ge=0, description="of the sampling")


@dataclass(frozen=True)
class SSAProgress:
    """`segments` were noted in this round of notes, which is `share` of what the round has to read."""

    round: int
    segments: int
    share: float


@dataclass(frozen=True)
class SSAResult(Generic[C]):
    """
    Attributes:
        notes: what was found, in order, empty notes left out.
        spans: which part of the context each of them is about, in characters or tokens.
        rounds: of notes; more than one where the notes were too long to answer from.
        overlong: the notes got no shorter, and the answer is from more than the model was trained on.
        segments: that were read in the first round.
        prefill_tokens: read, all rounds and the answer together.
        seconds: that this took; those of all contexts of one call, divided by their number.
    """

    answer: C
    notes: list[C]
    spans: list[tuple[int, int]]
    rounds: int
    overlong: bool
    segments: int
    prefill_tokens: int
    seconds: float


@dataclass
class _Job(Generic[C]):
    query: C
    context: C
    room: int
    found: list[tuple[Segment[C], C]] = field(default_factory=list)
    first: list[tuple[Segment[C], C]] = field(default_factory=list)
    rounds: int = 0
    segments: int = 0
    tokens: int = 0
    size: int = 0
    overlong: bool = False
    answer: C | None = None


def segmented_answer(
    model: Any,
    tokenizer: Any,
    context: str,
    query: str,
    options: SegmentOptions | None = None,
    on_progress: Callable[[SSAProgress], None] | None = None,
    speed: Speed | None = None,
    *,
    query_position: QueryPosition = "after",
) -> SSAResult[str]:
    """One question on one text; :func:`segmented_answers` takes many, and other forms."""
    form = TextForm(model, tokenizer, query_position=query_position)
    return segmented_answers(model, form, [context], [query], options, on_progress, speed)[0]


def segmented_answers(
    model: Any,
    form: SegmentForm[C],
    contexts: Sequence[C],
    queries: Sequence[C],
    options: SegmentOptions | None = None,
    on_progress: Callable[[SSAProgress], None] | None = None,
    speed: Speed | None = None,
) -> list[SSAResult[C]]:
    """One query on each context; segments of all of them share batches.

    Args:
        speed: is added to.

    Raises:
        UsageError: not one query a context, or a query that leaves no room for a segment.
    """
    if len(contexts) != len(queries):
        raise UsageError(f"{len(contexts)} contexts and {len(queries)} queries were given; want one query a context")
    options = options or SegmentOptions()
    began, speed = time.perf_counter(), Speed() if speed is None else speed
    jobs = [_Job(query, context, _room(form, query, options)) for context, query in zip(contexts, queries, strict=True)]
    active, turn = jobs, 1
    while active:
        _take_notes(model, form, active, options, speed, turn, on_progress)
        active, turn = [job for job in active if _needs_another_round(form, job, options)], turn + 1
    answered = [job for job in jobs if job.found]
    prompts = [form.answer_prompt(_joined(form, job), job.query) for job in answered]
    decoding = Decoding(max_new_tokens=options.answer_tokens, temperature=options.temperature, seed=options.seed)
    written = complete(model, prompts, decoding, form.answer_ends, batch_size=options.batch_size, speed=speed)
    for job, prompt, tokens in zip(answered, prompts, written, strict=True):
        job.answer, job.tokens = form.answer(tokens), job.tokens + len(prompt)
    seconds = (time.perf_counter() - began) / max(1, len(jobs))
    return [_result(form, job, seconds) for job in jobs]


def _take_notes(
    model: Any,
    form: SegmentForm[C],
    jobs: Sequence[_Job[C]],
    options: SegmentOptions,
    speed: Speed,
    turn: int,
    on_progress: Callable[[SSAProgress], None] | None,
) -> None:
    decoding = Decoding(max_new_tokens=options.note_tokens, temperature=options.temperature, seed=options.seed)
    for job in jobs:
        job.found, job.rounds = [], turn
    stream, done = _segments(form, jobs), 0
    while window := list(islice(stream, _BATCHES_AHEAD * options.batch_size)):
        prompts = [form.note_prompt(segment.content, job.query) for _, job, segment in window]
        written = complete(model, prompts, decoding, form.note_ends, batch_size=options.batch_size, speed=speed)
        for (_, job, segment), prompt, tokens in zip(window, prompts, written, strict=True):
            job.tokens += len(prompt)
            job.segments += turn == 1
            note = form.note(tokens)
            if note is not None:
                job.found.append((segment, note))
        done += len(window)
        if on_progress is not None:
            on_progress(SSAProgress(turn, done, window[-1][0]))
    if turn == 1:
        for job in jobs:
            job.first = job.found


def _segments(form: SegmentForm[C], jobs: Sequence[_Job[C]]) -> Iterator[tuple[float, _Job[C], Segment[C]]]:
    """Every segment of every job, and the share of the work that is done with it."""
    lengths = [len(job.context) for job in jobs]  # type: ignore[arg-type]  # str, or a sequence of ids
    total, before = max(1, sum(lengths)), 0
    for job, length in zip(jobs, lengths, strict=True):
        for segment in form.segments(job.context, job.room):
            yield (before + segment.end) / total, job, segment
        before += length


def _needs_another_round(form: SegmentForm[C], job: _Job[C], options: SegmentOptions) -> bool:
    """Whether the notes are too long to answer from; they are the next round's context then."""
    if not job.found:
        return False
    joined = _joined(form, job)
    size = len(form.answer_prompt(joined, job.query))
    if size + options.answer_tokens <= options.training_tokens:
        return False
    job.overlong = job.rounds > 1 and size > _SHRINKS * job.size
    job.context, job.size = joined, size
    return not job.overlong


def _joined(form: SegmentForm[C], job: _Job[C]) -> C:
    return form.joined([note for _, note in job.found])


def _room(form: SegmentForm[C], query: C, options: SegmentOptions) -> int:
    """Tokens of a segment."""
    if options.segment_tokens is not None:
        return options.segment_tokens
    around = len(form.note_prompt(form.joined([]), query))
    room = options.training_tokens - around - options.note_tokens
    if room < 1:
        raise UsageError(
            f"the query takes {around:,} tokens with its instruction and a note may take {options.note_tokens:,}, "
            f"which leaves nothing of training_tokens={options.training_tokens:,} for a segment; let notes be shorter"
        )
    return room


def _result(form: SegmentForm[C], job: _Job[C], seconds: float) -> SSAResult[C]:
    return SSAResult(
        answer=form.unanswerable if job.answer is None else job.answer,
        notes=[note for _, note in job.first],
        spans=[(segment.start, segment.end) for segment, _ in job.first],
        rounds=job.rounds,
        overlong=job.overlong,
        segments=job.segments,
        prefill_tokens=job.tokens,
        seconds=seconds,
    )
