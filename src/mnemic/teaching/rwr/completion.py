"""What a model writes after many prompts, in batches, with what reading and writing cost.

Legend: B rows, V vocabulary.
"""

import time
from collections.abc import Collection, Sequence

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from mnemic.errors import UsageError
from mnemic.teaching.rwr.continuation import continuation_of
from mnemic.teaching.rwr.forks import ReadContext, read
from mnemic.teaching.rwr.speed import Speed

__all__ = ["Decoding", "Speed", "complete", "complete_after_common_start", "write"]


class Decoding(BaseModel):
    """How tokens are chosen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: int = Field(256, ge=1, description="tokens written after a prompt, at most")
    temperature: float = Field(0.0, ge=0, description="0: the likeliest token each time")
    seed: int = Field(0, ge=0, description="of the sampling")


def complete(
    model: object,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    ends: Collection[int],
    *,
    batch_size: int = 16,
    speed: Speed | None = None,
) -> list[list[int]]:
    """What follows each prompt, up to a token that ends a text, which is left out; every prompt from a fresh memory.

    Rows of like length share a batch, so that little is padded, and none where a model cannot bear it.
    """
    return _in_batches(model, None, prompts, decoding, ends, batch_size, Speed() if speed is None else speed)


def complete_after_common_start(
    model: object,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    ends: Collection[int],
    *,
    batch_size: int = 16,
    speed: Speed | None = None,
) -> list[list[int]]:
    """The same, but the tokens with which all prompts begin are read once, and every prompt goes on from a copy.

    A model that must read every prompt whole does so.
    """
    common = _common_start(prompts) if len(prompts) > 1 and not continuation_of(model).whole else 0
    speed = Speed() if speed is None else speed
    if not common:
        return _in_batches(model, None, prompts, decoding, ends, batch_size, speed)
    began = time.perf_counter()
    context = read(model, [prompts[0][:common]])
    _wait(context)
    speed.prefill_seconds += time.perf_counter() - began
    speed.prefill_tokens += common
    return _in_batches(model, context, [p[common:] for p in prompts], decoding, ends, batch_size, speed)


@torch.no_grad()
def write(context: ReadContext, decoding: Decoding, ends: Collection[int]) -> list[list[int]]:
    """Go on from a context, token by token, until every row has ended; the context moves on with it."""
    generator = torch.Generator(context.logits.device).manual_seed(decoding.seed)
    written: list[list[int]] = [[] for _ in range(context.rows)]
    rows, going = list(range(context.rows)), [True] * context.rows
    for left in reversed(range(decoding.max_new_tokens)):
        chosen = _choose(context.logits, decoding.temperature, generator)
        for place, token in enumerate(chosen.tolist()):
            going[place] = going[place] and token not in ends
            if going[place]:
                written[rows[place]].append(token)
        alive = [place for place, on in enumerate(going) if on]
        if not alive or not left:
            break
        if 2 * len(alive) <= len(rows):  # rows that ended cost as much as those that go on
            context, chosen = context.fork(alive), chosen[alive]
            rows, going = [rows[place] for place in alive], [True] * len(alive)
        context.go_on(chosen[:, None])
    return written


def _in_batches(
    model: object,
    context: ReadContext | None,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    ends: Collection[int],
    batch_size: int,
    speed: Speed,
) -> list[list[int]]:
    if batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}; want at least 1")
    empty = next((index for index, prompt in enumerate(prompts) if not prompt), None)
    if empty is not None:
        raise UsageError(f"prompt {empty} has no tokens")
    lengths = [len(prompt) for prompt in prompts]
    written: list[list[int]] = [[] for _ in prompts]
    for group in continuation_of(model).together(lengths, fresh=context is None):
        group.sort(key=lambda index: -lengths[index])
        for start in range(0, len(group), batch_size):
            batch = group[start : start + batch_size]
            began = time.perf_counter()
            rows = [prompts[index] for index in batch]
            if context is None:
                one = read(model, rows)
            else:
                one = context.fork([0] * len(batch))
                one.go_on_ragged(rows)
            _wait(one)
            speed.prefill_seconds += time.perf_counter() - began
            speed.prefill_tokens += sum(map(len, rows))
            speed.held_bytes = max(speed.held_bytes, one.bytes // one.rows)
            began = time.perf_counter()
            for index, tokens in zip(batch, write(one, decoding, ends), strict=True):
                written[index] = tokens
                speed.decode_tokens += len(tokens)
            speed.decode_seconds += time.perf_counter() - began
    return written


def _choose(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """[B, V] -> [B]."""
    if not temperature:
        return logits.argmax(-1)
    return torch.multinomial((logits.float() / temperature).softmax(-1), 1, generator=generator)[:, 0]


def _common_start(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens with which all begin, one less than the shortest has at most: something must follow."""
    shortest, first = min(map(len, prompts)), prompts[0]
    differs = (i for i in range(shortest) if any(prompt[i] != first[i] for prompt in prompts))
    return max(0, min(next(differs, shortest), shortest - 1))


def _wait(context: ReadContext) -> None:
    """Until an accelerator has done what it was given, so that seconds are those of the work."""
    context.logits.sum().item()
