"""What the study's models answer: at once, after a note, from notes on segments, or with tokens left out as they read.

Legend: L tokens of a context.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from mnemic.studies.rwr_runs import SizeOf
from mnemic.tasks.base import UNASKED
from mnemic.tasks.key_facts import ANSWER, EOS, KEY, NOTE, UNANSWERABLE, VALUE, KeyFacts
from mnemic.teaching.rwr.completion import Decoding, Speed, complete
from mnemic.teaching.rwr.decimation import Decimation, decimated
from mnemic.teaching.rwr.segment_forms import TokenForm
from mnemic.teaching.rwr.segmented import SegmentOptions, segmented_answers

__all__ = ["Way", "Answered", "answered"]

Way = Literal["direct", "note", "segments", "decimated"]
Ids = Sequence[int]
_QUERY = 3
_NOTE_TOKENS = 4  # key value key value
_WRITTEN = _NOTE_TOKENS + 3  # and what follows: A y EOS


class Answered(BaseModel):
    """How a model did on the questions of one length.

    Attributes:
        accuracy: share of right answers.
        abstained: share that was answered with "unanswerable".
        precision: share of those that had no answer indeed; None where it never abstained.
        recall: share of the questions without an answer on which it abstained; None where all have one.
        prefill_tokens_per_second, decode_tokens_per_second: of the whole batch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    accuracy: float
    abstained: float
    precision: float | None
    recall: float | None
    prefill_tokens_per_second: float | None
    decode_tokens_per_second: float | None


def answered(model: Any, task: KeyFacts, way: Way, size: SizeOf, seed: int) -> Answered:
    """Ask a model the test questions of a task."""
    rows = task.sample("test", size.questions, seed)
    assert isinstance(task.length, int)
    prompts = [ids[: task.length + _QUERY] for ids in rows.input_ids.tolist()]
    truth = rows.labels[rows.labels != UNASKED].tolist()
    at_once = max(1, size.rows_at_once * size.length // task.length)
    speed = Speed()
    if way == "segments":
        found = _in_segments(model, prompts, size, speed)
    else:
        asked = [[*prompt, NOTE if way == "note" else ANSWER] for prompt in prompts]
        with _reading(model, way, size):
            decoding = Decoding(max_new_tokens=_WRITTEN if way == "note" else 1)
            written = complete(model, asked, decoding, [EOS], batch_size=at_once, speed=speed)
        found = [_answer(tokens) if way == "note" else next(iter(tokens), EOS) for tokens in written]
    return _scored(found, truth, speed)


def _reading(model: Any, way: Way, size: SizeOf) -> AbstractContextManager[Any]:
    return decimated(model, Decimation(keep=size.length + _QUERY + 1)) if way == "decimated" else nullcontext()


def _in_segments(model: Any, prompts: list[list[int]], size: SizeOf, speed: Speed) -> list[int]:
    contexts, queries = [prompt[:-_QUERY] for prompt in prompts], [prompt[-_QUERY:] for prompt in prompts]
    form = TokenForm(
        make_note_prompt=lambda segment, query: [*segment, *query, NOTE],
        make_answer_prompt=lambda notes, query: [*notes, *query, NOTE],
        read_note=_told,
        note_ends=[ANSWER, EOS],
        answer_ends=[EOS],
        unanswerable=[UNANSWERABLE],
        read_answer=lambda written: [_answer(written)],
        spans=_between_facts,
    )
    options = SegmentOptions(
        training_tokens=size.length + _QUERY + 1 + _WRITTEN, segment_tokens=size.length, note_tokens=_NOTE_TOKENS + 1,
        answer_tokens=_WRITTEN, batch_size=size.rows_at_once,
    )  # fmt: skip
    results = segmented_answers(model, form, contexts, queries, options, speed=speed)
    return [next(iter(result.answer), EOS) for result in results]


def _between_facts(context: Ids, room: int) -> list[tuple[int, int]]:
    """Where to cut a context: never between a key and its value, as texts are cut between paragraphs."""
    spans, start = [], 0
    while start < len(context):
        end = min(start + room, len(context))
        if end < len(context) and context[end - 1] >= KEY and end - start > 1:
            end -= 1
        spans.append((start, end))
        start = end
    return spans


def _told(written: Ids) -> list[int]:
    """The facts of a note: each key with its value; keys that were not told are left out."""
    pairs = zip(written[::2], written[1::2], strict=False)
    return [token for key, value in pairs if key >= KEY and VALUE <= value < KEY for token in (key, value)]


def _answer(written: Ids) -> int:
    """The token after the first A; EOS where there is none."""
    at = list(written).index(ANSWER) + 1 if ANSWER in written else len(written)
    return written[at] if at < len(written) else EOS


def _scored(found: list[int], truth: list[int], speed: Speed) -> Answered:
    right = [a == b for a, b in zip(found, truth, strict=True)]
    said, none = [a == UNANSWERABLE for a in found], [b == UNANSWERABLE for b in truth]
    both = sum(a and b for a, b in zip(said, none, strict=True))
    return Answered(
        accuracy=sum(right) / len(right),
        abstained=sum(said) / len(said),
        precision=both / sum(said) if any(said) else None,
        recall=both / sum(none) if any(none) else None,
        prefill_tokens_per_second=speed.prefill_per_second,
        decode_tokens_per_second=speed.decode_per_second,
    )
