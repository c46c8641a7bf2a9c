"""What a build will ask of its teacher, reckoned before the first call is paid for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from mnemic.llm import Price
from mnemic.teaching.memento.boundaries import SECOND_WINDOW, WINDOW
from mnemic.teaching.memento.options import BuildOptions
from mnemic.teaching.memento.sentences import split_sentences
from mnemic.teaching.records import TraceRecord
from mnemic.teaching.tokens import TokenCounter

__all__ = ["Estimate", "estimate"]

# Seen in the published data: mean tokens of a block, and of its memento by those of the block.
_BLOCK_TOKENS = 1150
_RATIO = 0.18
_INSTRUCTIONS = 450  # tokens of any of the four prompts without its material
_JUDGEMENT_TOKENS = 150
_SCORE_TOKENS = 3
_GAP_TOKENS = 10  # a tag between two sentences
_SAMPLE = 200


@dataclass(frozen=True)
class Estimate:
    """Pairs go from blocks of the usual length whose mementos are good at once, to the shortest blocks that are allowed
    and all rounds of judging. What re-asking after a bad reply costs is not in it.

    Attributes:
        traces: that can be used; `unusable` are dropped before any call.
        tokens: of all reasoning.
    """

    traces: int
    unusable: int
    sentences: int
    tokens: int
    blocks: tuple[int, int]
    calls: tuple[int, int]
    prompt_tokens: tuple[int, int]
    completion_tokens: tuple[int, int]

    def cost(self, price: Price) -> tuple[float, float]:
        low, high = (price.of(p, c) for p, c in zip(self.prompt_tokens, self.completion_tokens, strict=True))
        return low, high


class _Shape(NamedTuple):
    """One trace."""

    problem_tokens: int
    sentences: int
    tokens: int


class _Work(NamedTuple):
    """Blocks, and calls and tokens for all of a trace."""

    blocks: int
    calls: int
    prompt_tokens: float
    completion_tokens: float


def estimate(records: Iterable[TraceRecord], options: BuildOptions, counter: TokenCounter) -> Estimate:
    """Reckon a build. The first traces are split and counted; what they say is scaled up to all of them."""
    seen = unusable = 0
    sample: list[_Shape] = []
    for record in records:
        if record.status == "failed" or not record.reasoning.strip():
            unusable += 1
            continue
        seen += 1
        if len(sample) < _SAMPLE:
            sample.append(_shape(record, counter))
    scale = seen / len(sample) if sample else 0.0
    least = [_work(shape, options, max(_BLOCK_TOKENS, options.min_tokens), 1) for shape in sample]
    most = [_work(shape, options, options.min_tokens, options.writing.rounds) for shape in sample]

    def pair(name: str) -> tuple[int, int]:
        low, high = (sum(getattr(work, name) for work in works) for works in (least, most))
        return round(low * scale), round(high * scale)

    return Estimate(
        traces=seen,
        unusable=unusable,
        sentences=round(sum(shape.sentences for shape in sample) * scale),
        tokens=round(sum(shape.tokens for shape in sample) * scale),
        blocks=pair("blocks"),
        calls=pair("calls"),
        prompt_tokens=pair("prompt_tokens"),
        completion_tokens=pair("completion_tokens"),
    )


def _shape(record: TraceRecord, counter: TokenCounter) -> _Shape:
    text = record.reasoning
    problem = sum(counter.count(turn.content) for turn in record.prompt)
    return _Shape(problem, len(split_sentences(text)), counter.count(text))


def _work(shape: _Shape, options: BuildOptions, block_tokens: int, rounds: int) -> _Work:
    blocks = max(1, min(shape.tokens // block_tokens, shape.sentences))
    passes = (WINDOW, SECOND_WINDOW) if options.two_pass else (WINDOW,)
    windows = sum(ceil((shape.sentences - 1) / window) for window in passes)
    mementos = shape.tokens * _RATIO
    shown = shape.tokens + mementos + blocks * _INSTRUCTIONS  # to the judge, of all blocks
    judged = blocks * _JUDGEMENT_TOKENS
    scoring = windows * _INSTRUCTIONS + len(passes) * (shape.tokens + _GAP_TOKENS * shape.sentences)
    drafting = _INSTRUCTIONS + shape.problem_tokens + shape.tokens
    return _Work(
        blocks=blocks,
        calls=windows + 1 + blocks * (2 * rounds - 1),
        prompt_tokens=scoring + drafting + rounds * shown + (rounds - 1) * (shown + judged),
        completion_tokens=len(passes) * _SCORE_TOKENS * shape.sentences + rounds * (mementos + judged),
    )
