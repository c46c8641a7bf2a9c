"""Generation in which summarised blocks really leave the cache, through transformers' own `generate`.

Legend: B rows, T tokens of the prompts, N new tokens, V vocabulary.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mnemic.errors import UsageError
from mnemic.teaching.memento.blocks import Block
from mnemic.teaching.memento.choosing import Choice, Forced, Sampled
from mnemic.teaching.memento.decoding import Prompt, RunningBatch, Seconds
from mnemic.teaching.memento.generation_limits import check_arguments, check_generation, left_padded
from mnemic.teaching.memento.rules import MarkerIds, MementoRules

__all__ = ["MementoOutput", "memento_decode", "memento_generate"]


@dataclass(frozen=True)
class MementoOutput:
    """
    Attributes:
        sequences: [B, T + N], as `generate` returns them.
        prompts: T.
        blocks: per row, its completed blocks, in positions of the row without padding.
        kv_trace: per row, the tokens held after each token that was fed; the last one sampled never is.
        allocated_peak: slots that were set aside for each row, at most.
        allocated_bytes_peak: bytes of keys and values that were set aside, all rows together, at most.
        malformed, forced_block_ends, evictions: per row, how often.
        seconds: of the forward passes, of eviction, of sampling.
        scores, logits: [B, V] per new token, where asked for, as in transformers.
    """

    sequences: Tensor
    prompts: int
    blocks: list[list[Block]]
    kv_trace: list[list[int]]
    allocated_peak: int
    allocated_bytes_peak: int
    malformed: list[int]
    forced_block_ends: list[int]
    evictions: list[int]
    seconds: Seconds
    scores: tuple[Tensor, ...] | None = None
    logits: tuple[Tensor, ...] | None = None

    @property
    def peak_tokens(self) -> list[int]:
        """Per row, the most tokens held at once."""
        return [max(trace) for trace in self.kv_trace]

    @property
    def area(self) -> list[int]:
        """Per row, token-steps: the sum of its trace."""
        return [sum(trace) for trace in self.kv_trace]


def memento_generate(
    model: Any,
    input_ids: Tensor,
    *,
    rules: MementoRules,
    markers: MarkerIds,
    attention_mask: Tensor | None = None,
    roles: Tensor | None = None,
    max_new_tokens: int | None = None,
    well_formed: bool = False,
    forced: Sequence[Sequence[int]] | None = None,
    compact_slots: int | None = None,
    capacity: int = 0,
    streamer: Any = None,
    **generate: Any,
) -> MementoOutput:
    """Generate with eviction.

    Args:
        input_ids: [B, T], padded on the left.
        attention_mask: [B, T], 0 on padding.
        roles: [B, T] of `Role`, who wrote each token of the prompts; None: all of it is protected.
        well_formed: forbid markers out of order.
        forced: per row the tokens that it continues with; nothing is sampled then.
        compact_slots: free slots in every row before they are closed up; None for the default.
        capacity: slots to set aside from the start.
        generate: what transformers' `generate` takes: samplers, stopping criteria, eos, num_return_sequences...

    Raises:
        UsageError: what cannot work with eviction, with the reason.
    """
    check_arguments(generate)
    if max_new_tokens is None and forced is not None:
        max_new_tokens = max(map(len, forced), default=0)
    if max_new_tokens is not None:
        generate["max_new_tokens"] = max_new_tokens
    if streamer is not None:
        # `generate` of transformers 5 gives the prompt to a streamer and forgets to hand it on to a custom loop
        streamer.put(input_ids.cpu())
    decode = partial(memento_decode, streamer=streamer)
    output = model.generate(
        input_ids,
        attention_mask=attention_mask,
        custom_generate=decode,
        rules=rules,
        markers=markers,
        roles=roles,
        well_formed=well_formed,
        forced=forced,
        compact_slots=compact_slots,
        capacity=capacity,
        return_dict_in_generate=True,
        **generate,
    )
    assert isinstance(output, MementoOutput)
    return output


@torch.no_grad()
def memento_decode(
    model: Any,
    input_ids: Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    rules: MementoRules | None = None,
    markers: MarkerIds | None = None,
    roles: Tensor | None = None,
    well_formed: bool = False,
    forced: Sequence[Sequence[int]] | None = None,
    compact_slots: int | None = None,
    capacity: int = 0,
    synced_gpus: bool = False,
    streamer: Any = None,
    **model_kwargs: Any,
) -> MementoOutput | Tensor:
    """The loop behind :func:`memento_generate`, for `model.generate(custom_generate=memento_decode, rules=...)`.

    A streamer that `generate` itself is given sees the prompt and then, in transformers 5, nothing more: it is not
    passed to custom loops. :func:`memento_generate` passes it.

    Returns:
        the sequences [B, T + N], or with `return_dict_in_generate` a :class:`MementoOutput`.
    """
    if rules is None or markers is None:
        raise UsageError(
            "memento_decode needs rules=MementoRules(...) and markers=MarkerIds(...) from generate's caller"
        )
    check_generation(generation_config, model_kwargs, synced_gpus)
    prompts = _prompts(input_ids, model_kwargs.get("attention_mask"), roles)
    batch, logits = RunningBatch.start(
        model, prompts, rules=rules, markers=markers, compact_slots=compact_slots, capacity=capacity
    )
    choice: Choice
    if forced is not None:
        choice = Forced(forced, generation_config, len(prompts))
    else:
        choice = Sampled(logits_processor, stopping_criteria, generation_config, batch.rows, rules, well_formed)
    before, scores, raw = input_ids.shape[1], [], []
    while True:
        began = time.perf_counter()
        given = logits.to(copy=True, dtype=torch.float32, device=input_ids.device)
        chosen, seen = choice.tokens(input_ids, given, before)
        if generation_config.output_scores:
            scores.append(seen)
        if generation_config.output_logits:
            raw.append(given)
        input_ids = torch.cat([input_ids, chosen[:, None]], dim=-1)
        if streamer is not None:
            streamer.put(chosen.cpu())
        live, tokens = choice.going_on(input_ids, scores, before).tolist(), chosen.tolist()
        for index, row in enumerate(batch.rows):
            if row.live and not live[index]:
                row.tracker.push(tokens[index], len(row.tokens))  # it is never fed, but may complete a block
                batch.end(index)
        batch.seconds.sampling += time.perf_counter() - began
        if not any(live):
            break
        logits = batch.feed(tokens)
    if streamer is not None:
        streamer.end()
    if not generation_config.return_dict_in_generate:
        return input_ids
    return _output(batch, input_ids, before, tuple(scores) or None, tuple(raw) or None)


def _prompts(input_ids: Tensor, attention_mask: Tensor | None, roles: Tensor | None) -> list[Prompt]:
    real = left_padded(input_ids, attention_mask)
    rows = input_ids.tolist()
    if roles is None:
        return [Prompt(row[start:]) for row, start in zip(rows, real, strict=True)]
    if roles.ndim != 2 or roles.shape[1] != input_ids.shape[1] or len(rows) % len(roles):
        raise UsageError(f"roles is {tuple(roles.shape)}; want one role for each of {tuple(input_ids.shape)} tokens")
    who = roles.repeat_interleave(len(rows) // len(roles), dim=0).tolist()  # for num_return_sequences
    return [Prompt(row[start:], role[start:]) for row, role, start in zip(rows, who, real, strict=True)]


def _output(
    batch: RunningBatch,
    sequences: Tensor,
    prompts: int,
    scores: tuple[Tensor, ...] | None,
    logits: tuple[Tensor, ...] | None,
) -> MementoOutput:
    batch.cache.note_allocation()
    return MementoOutput(
        sequences=sequences,
        prompts=prompts,
        blocks=[row.tracker.blocks for row in batch.rows],
        kv_trace=[row.trace for row in batch.rows],
        allocated_peak=batch.cache.most_allocated,
        allocated_bytes_peak=batch.cache.most_allocated_bytes,
        malformed=[row.tracker.malformed for row in batch.rows],
        forced_block_ends=[row.forced for row in batch.rows],
        evictions=[row.evicted for row in batch.rows],
        seconds=batch.seconds,
        scores=scores,
        logits=logits,
    )
