"""What the engine knows of a request and of each of its sequences, and what it tells whoever asked.

Legend: V vocabulary.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from mnemic.errors import MnemicError
from mnemic.teaching.memento.decoding import Prompt, Row
from mnemic.teaching.memento.text_stream import Detokeniser, Piece, Shown, Splitter, StopStrings

__all__ = ["Continuation", "Delta", "Event", "Failed", "Finished", "FinishReason", "Request", "Sampling", "Statistics"]

FinishReason = Literal["stop", "length"]
_number = itertools.count()
_GREEDY_BELOW = 1e-5
"""Temperatures so low that logits divided by them would leave float32."""


@dataclass(frozen=True)
class Sampling:
    """How one request samples.

    Attributes:
        max_tokens: at most so many; None: as many as fit.
        seed: of the first of n sequences; the others take the seeds after it. None: another one each time.
        well_formed: forbid markers out of order.
        shown: how the text is told.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int = 1
    well_formed: bool = False
    shown: Shown = "split"


@dataclass(frozen=True)
class Statistics:
    """What a finished sequence took.

    Attributes:
        tokens: what was generated, the end of the text with it.
        peak_resident_tokens: tokens whose keys were held, at most.
        full_attention_tokens: tokens that would have been held in the end had nothing been evicted.
        kv_trace: tokens held after each one that was fed.
        restarts: how often it lost its cache to make room, and was read again.
    """

    tokens: tuple[int, ...]
    peak_resident_tokens: int
    full_attention_tokens: int
    blocks: int
    malformed: int
    forced_block_ends: int
    restarts: int
    kv_trace: tuple[int, ...]


@dataclass(frozen=True)
class Delta:
    """New text of sequence `index`."""

    index: int
    piece: Piece


@dataclass(frozen=True)
class Finished:
    """Sequence `index` has ended."""

    index: int
    reason: FinishReason
    statistics: Statistics


@dataclass(frozen=True)
class Failed:
    """The request has failed; nothing follows."""

    message: str


Event = Delta | Finished | Failed


@dataclass(eq=False)
class Request:
    """A prompt that is to be continued `sampling.n` times.

    Attributes:
        tell: called from the engine's thread with each event.
        thinking: the prompt ends inside <think>.
        cancelled: set by whoever lost interest; the engine lets go of it before its next step.
    """

    prompt: Prompt
    sampling: Sampling
    tell: Callable[[Event], None]
    thinking: bool = False
    cancelled: bool = False
    number: int = field(default_factory=_number.__next__)

    def say(self, event: Event) -> None:
        """Tell an event; if that fails there is nobody left to listen."""
        try:
            if not self.cancelled:
                self.tell(event)
        except Exception:
            self.cancelled = True

    def fail(self, message: str) -> None:
        self.say(Failed(message))
        self.cancelled = True


class Continuation:
    """One continuation of a request, with a sampler and text of its own; it outlives the row it decodes in."""

    def __init__(self, request: Request, index: int, tokenizer: Any, special: Sequence[str]) -> None:
        sampling = request.sampling
        self.request, self.index = request, index
        self.generated: list[int] = []
        self.trace: list[int] = []
        self.peak = self.restarts = self.forced = 0
        self._generator = torch.Generator()
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed + index)
        self._words = Detokeniser(tokenizer)
        self._split = Splitter(sampling.shown, request.thinking, special)
        self._stop = StopStrings(sampling.stop)

    def sample(self, logits: Tensor) -> int:
        """The next token from logits [V] in float32.

        Raises:
            MnemicError: logits that are not numbers.
        """
        options = self.request.sampling
        if bool(torch.isnan(logits).any()) or bool(torch.isinf(logits).all()):
            raise MnemicError("the model gave logits that are not numbers")
        if options.temperature < _GREEDY_BELOW:
            return int(logits.argmax())
        scores = logits / options.temperature
        if 0 < options.top_k < len(scores):
            scores = scores.masked_fill(scores < scores.topk(options.top_k).values[-1], -torch.inf)
        chances = torch.softmax(scores, dim=-1)
        if options.top_p < 1:
            ranked, order = chances.sort(descending=True)
            ranked[ranked.cumsum(0) - ranked >= options.top_p] = 0  # the one that crosses top_p stays
            chances = torch.zeros_like(chances).scatter(0, order, ranked)
        return int(torch.multinomial(chances, 1, generator=self._generator))

    def take(self, token: int, *, ends: bool) -> bool:
        """Take in a sampled token and tell its text; whether the sequence ends with it.

        Args:
            ends: it is an end-of-text token, which is counted and never shown.
        """
        self.generated.append(token)
        if not ends:
            self._tell(self._stop.push(self._split.push(self._words.push(token))))
        return ends or self._stop.found is not None

    def finish(self, reason: FinishReason, row: Row) -> None:
        """Tell what was held back, and that it has ended."""
        if self._stop.found is None:
            self._tell(self._stop.push([*self._split.push(self._words.flush()), *self._split.flush()]))
        if self._stop.found is None:
            self._tell(self._stop.flush())
        else:
            reason = "stop"
        row.tracker.push(self.generated[-1], len(row.tokens))  # it is never fed, but may complete a block
        self.request.say(
            Finished(
                self.index,
                reason,
                Statistics(
                    tokens=tuple(self.generated),
                    peak_resident_tokens=self.peak,
                    full_attention_tokens=len(row.tokens),
                    blocks=len(row.tracker.blocks),
                    malformed=row.tracker.malformed,
                    forced_block_ends=self.forced,
                    restarts=self.restarts,
                    kv_trace=tuple(self.trace),
                ),
            )
        )

    def note(self, held: Sequence[int]) -> None:
        """Tokens held after each one that was fed just now."""
        self.trace += held
        self.peak = max(self.peak, *held)

    def _tell(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            self.request.say(Delta(self.index, piece))
