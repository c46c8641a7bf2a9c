"""What the MEMENTO study measures beside accuracy: mask against eviction, tokens per second, the probe."""

from typing import Any

import numpy as np
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from mnemic.models import MnemicForCausalLM
from mnemic.models.visibility import attention_masks
from mnemic.tasks.base import TaskConfig
from mnemic.tasks.rounds import DIGIT, MARKERS, Rounds
from mnemic.tasks.running_sum import RunningSum
from mnemic.teaching.memento.generation import memento_generate
from mnemic.teaching.memento.kv_probe import probe_kv
from mnemic.teaching.memento.measuring import Shape, throughput
from mnemic.teaching.memento.rules import MarkerIds, MementoRules

__all__ = ["mask_difference", "probed", "speed"]

ROWS = 8
PROBED_BLOCK = 3
PROBE_ROWS = 12_000


@torch.no_grad()
def mask_difference(model: MnemicForCausalLM, task: Rounds, seed: int) -> float:
    """The largest difference of any logit between one masked pass and decoding with eviction, on the same traces."""
    rows = task.replace(hide=True).sample("test", ROWS, seed)
    ids, until = (
        torch.from_numpy(rows.input_ids).to(model.device),
        torch.from_numpy(rows.visible_until).to(model.device),
    )
    masked = model(input_ids=ids, attention_mask=attention_masks(model.config, until)).logits
    start = task.prompt_length
    out = memento_generate(
        model, ids[:, :start], rules=MementoRules(), markers=MarkerIds(*MARKERS),
        forced=ids[:, start:].tolist(), output_logits=True, pad_token_id=0,
    )  # fmt: skip
    assert out.logits is not None
    return float((torch.stack(out.logits, dim=1) - masked[:, start - 1 : -1]).abs().max())


def speed() -> dict[str, float]:
    """Ratios of tokens per second on forced traces, on a random model of Qwen3-0.6B's proportions: ours are too small.

    Also the share of the time that evicting took, and each arm's tokens per second.
    """
    torch.manual_seed(0)
    vocabulary = 512
    config = Qwen3Config(
        vocab_size=vocabulary, hidden_size=256, intermediate_size=768, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=128, tie_word_embeddings=True,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config).eval()
    markers = MarkerIds(vocabulary - 4, vocabulary - 3, vocabulary - 2, vocabulary - 1)
    prompts, continuations = Shape(prompt=32, blocks=16, block=64, memento=8).traces(markers, vocabulary, ROWS, seed=0)
    arms = throughput(model, prompts, continuations, rules=MementoRules(), markers=markers)
    evicting, aside, dynamic = (arms[name] for name in ("evicting", "full, set aside", "full, transformers"))
    return {
        "dynamic": evicting.tokens_per_second / dynamic.tokens_per_second,
        "set aside": evicting.tokens_per_second / aside.tokens_per_second,
        "eviction": evicting.eviction_share,
        **{f"tokens/s {name}": arm.tokens_per_second for name, arm in arms.items()},
    }


def probed(model: Any, task: TaskConfig, seed: int) -> dict[str, Any]:
    """The probe's report on the last layer: the mementos from one before the passcode's block to two after it."""
    assert isinstance(task, RunningSum)
    rows = task.sample("test", PROBE_ROWS, seed)
    ids, until = (
        torch.from_numpy(rows.input_ids).to(model.device),
        torch.from_numpy(rows.visible_until).to(model.device),
    )
    first = task.block_start(PROBED_BLOCK) + 1
    digits = rows.input_ids[:, first : first + task.digits].astype(np.int64) - DIGIT
    places = {
        distance: torch.arange(where.start, where.stop - 1, device=model.device).expand(len(ids), -1)
        for distance in (-1, 0, 1, 2)
        for where in [task.memento(PROBED_BLOCK + distance)]
    }
    layers = [model.config.num_hidden_layers - 1]
    return probe_kv(model, ids, until, places, digits, layers=layers, seed=seed).as_json()
