"""What eviction saves: keys held over time, their bytes, and tokens per second on the very same trace.

Legend: B rows, N blocks of a trace.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mnemic.errors import UsageError
from mnemic.models.config import MnemicConfig
from mnemic.models.visibility import layer_kinds
from mnemic.teaching.memento.decoding import Prompt, RunningBatch
from mnemic.teaching.memento.rules import MarkerIds, MementoRules

__all__ = ["ArmSpeed", "KeyBytes", "Shape", "area", "area_gb_ktok", "kv_bytes_per_token", "peak", "throughput"]

FULL = MementoRules(keep_last_n_blocks=-1)


@dataclass(frozen=True)
class KeyBytes:
    """Bytes of keys and values.

    Attributes:
        per_token: of one token in all full-attention layers together: what eviction gives back.
        full_layers: how many those are.
        fixed: layers by kind whose memory does not grow beyond a window or a state, and that evict nothing.
    """

    per_token: int
    full_layers: int
    fixed: Mapping[str, int]


def kv_bytes_per_token(config: Any, dtype: torch.dtype | None = None) -> KeyBytes:
    """2 (keys and values) x layers x key heads x head width x bytes of a number (Kontonis et al. 2026, section 3.6).

    Args:
        config: a transformers model's; grouped queries and head widths of their own are heeded.
        dtype: of the cache; None: the config's.
    """
    config = config.get_text_config(decoder=True)
    kinds = layer_kinds(config)
    full = kinds.count("full_attention")
    fixed: dict[str, int] = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds) if kind != "full_attention"}
    known = dtype or getattr(config, "dtype", None) or torch.get_default_dtype()
    kept = known if isinstance(known, torch.dtype) else getattr(torch, str(known).removeprefix("torch."))
    if isinstance(config, MnemicConfig):
        mixers = [config.mixer(index) for index, kind in enumerate(kinds) if kind == "full_attention"]
        per_token = sum(mixer.memory_bytes(2, kept) - mixer.memory_bytes(1, kept) for mixer in mixers)
        return KeyBytes(per_token, full, fixed)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return KeyBytes(2 * full * heads * width * kept.itemsize, full, fixed)


def peak(trace: Sequence[int]) -> int:
    """The most tokens held at once."""
    return max(trace)


def area(trace: Sequence[int]) -> int:
    """Token-steps: what every step attended to, summed; past a few hundred tokens, time is proportional to it."""
    return sum(trace)


def area_gb_ktok(trace: Sequence[int], bytes_per_token: int) -> float:
    """The same as the paper gives it: gigabytes (1e9) held, times thousands of tokens generated."""
    return area(trace) * bytes_per_token / 1e12


@dataclass(frozen=True)
class Shape:
    """A trace of equal blocks, for the closed form of its peak.

    Attributes:
        prompt: tokens of the prompt.
        blocks: N.
        block, memento: tokens between the markers of each.
        answer: tokens after the last memento.
    """

    prompt: int
    blocks: int
    block: int
    memento: int
    answer: int = 0

    def full_peak(self) -> int:
        return self.prompt + self.blocks * (self.block + self.memento + 4) + self.answer

    def evicting_peak(self, mask_delimiters: bool = False) -> int:
        """Just before the last memento is complete, or at the end of the answer, whichever holds more."""
        kept = self.memento + 2 + (0 if mask_delimiters else 2)
        last = self.prompt + (self.blocks - 1) * kept + self.block + self.memento + 3
        return max(last, self.prompt + self.blocks * kept + self.answer)

    def traces(
        self, markers: MarkerIds, vocabulary: int, rows: int, seed: int
    ) -> tuple[list[list[int]], list[list[int]]]:
        """(prompts, continuations) of random tokens in this shape, markers where they belong."""
        ordinary = np.setdiff1d(np.arange(vocabulary), markers)
        draw = np.random.default_rng(seed)

        def text(count: int) -> list[int]:
            return [int(token) for token in draw.choice(ordinary, count)]

        prompts, continuations = [], []
        for _ in range(rows):
            prompts.append(text(self.prompt))
            continuation: list[int] = []
            for _ in range(self.blocks):
                continuation += [markers.block_start, *text(self.block), markers.block_end]
                continuation += [markers.summary_start, *text(self.memento), markers.summary_end]
            continuations.append(continuation + text(self.answer))
        return prompts, continuations


@dataclass(frozen=True)
class ArmSpeed:
    """One way of decoding the traces.

    Attributes:
        tokens_per_second: all rows together, the median of the repeats.
        runs: of each repeat.
        peak_tokens: slots of keys held by the fullest row.
        peak_bytes: bytes of keys and values set aside, all rows together; None where nobody counts them.
        eviction_share: of the decoding time, the median.
    """

    tokens_per_second: float
    runs: tuple[float, ...]
    peak_tokens: int
    peak_bytes: int | None
    eviction_share: float


@dataclass(frozen=True)
class _Run:
    seconds: float
    peak_tokens: int
    peak_bytes: int | None
    eviction: float


def throughput(
    model: Any,
    prompts: Sequence[Prompt | Sequence[int]],
    continuations: Sequence[Sequence[int]],
    *,
    rules: MementoRules,
    markers: MarkerIds,
    repeats: int = 3,
    on_run: Callable[[str, int, float], None] | None = None,
) -> dict[str, ArmSpeed]:
    """Decode the same tokens with eviction, with full attention set aside from the start, and as transformers does.

    Every arm is fed the traces token by token and computes the logits after each, so only the cache differs. The arms
    take turns; the first turn warms up and does not count. Prefill is not counted.

    Args:
        prompts, continuations: per row; rows that end early stay in the batch.
        on_run: told the arm, the repeat and its tokens per second.

    Raises:
        UsageError: rows of different lengths, which transformers' loop would need padding for.
    """
    read = [row if isinstance(row, Prompt) else Prompt(row) for row in prompts]
    if len({len(row.ids) for row in read}) != 1 or len({len(row) for row in continuations}) != 1:
        raise UsageError(
            "throughput wants prompts of one length and continuations of one length, so that all arms do the same"
        )
    length = len(read[0].ids) + len(continuations[0])
    arms: dict[str, Callable[[], _Run]] = {
        "evicting": lambda: _ours(model, read, continuations, rules, markers, 0),
        "full, set aside": lambda: _ours(model, read, continuations, FULL, markers, length),
        "full, transformers": lambda: _theirs(model, [row.ids for row in read], continuations),
    }
    tokens = len(continuations) * len(continuations[0])
    runs: dict[str, list[_Run]] = {name: [] for name in arms}
    for repeat in range(repeats + 1):
        for name, arm in arms.items():
            run = arm()
            if repeat:
                runs[name].append(run)
                if on_run is not None:
                    on_run(name, repeat, tokens / run.seconds)
    return {name: _summary(tokens, held) for name, held in runs.items()}


def _summary(tokens: int, runs: Sequence[_Run]) -> ArmSpeed:
    rates = tuple(tokens / run.seconds for run in runs)
    return ArmSpeed(
        statistics.median(rates),
        rates,
        runs[0].peak_tokens,
        runs[0].peak_bytes,
        statistics.median(run.eviction / run.seconds for run in runs),
    )


def _ours(
    model: Any,
    prompts: Sequence[Prompt],
    continuations: Sequence[Sequence[int]],
    rules: MementoRules,
    markers: MarkerIds,
    capacity: int,
) -> _Run:
    batch, _ = RunningBatch.start(model, prompts, rules=rules, markers=markers, capacity=capacity)
    before = batch.seconds.eviction
    began = time.perf_counter()
    for tokens in zip(*continuations, strict=True):
        logits = batch.feed(tokens)
    _wait(logits)
    seconds = time.perf_counter() - began
    batch.cache.note_allocation()
    most = max(peak(row.trace) for row in batch.rows)
    return _Run(seconds, most, batch.cache.most_allocated_bytes, batch.seconds.eviction - before)


@torch.no_grad()
def _theirs(model: Any, prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]]) -> _Run:
    device = model.device
    out = model(input_ids=torch.tensor(prompts, device=device), use_cache=True)
    steps = torch.tensor(continuations, device=device).split(1, dim=1)
    began = time.perf_counter()
    for step in steps:
        out = model(input_ids=step, past_key_values=out.past_key_values, use_cache=True, logits_to_keep=1)
    _wait(out.logits)
    return _Run(time.perf_counter() - began, len(prompts[0]) + len(steps), None, 0.0)


def _wait(logits: torch.Tensor) -> None:
    """Until the work that was asked for is done, so that it is in the time."""
    logits.flatten()[:1].tolist()
