"""What a trained memory costs: parameters, bytes carried per sequence, and speed of reading and of writing on.

Legend: B rows, T time.
"""

import time
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from mnemic.tasks.base import TaskConfig

__all__ = ["MEMORY_LENGTHS", "decode_tokens_per_second", "held_bytes", "measure", "parameters"]

MEMORY_LENGTHS = (64, 256, 1024, 4096)
_DECODED = 32


def measure(model: Any, task: TaskConfig, seed: int = 0) -> dict[str, Any]:
    """Parameters, memory bytes per sequence and decoding speed, as a record's `cost` holds them.

    What the memory's formula says at the task's length is checked against the bytes that a prefill of one of the
    task's rows really holds; where they differ, what is held is reported, with a warning.
    """
    cost: dict[str, Any] = {"parameters": parameters(model)}
    if hasattr(model, "memory_bytes") and hasattr(model, "new_memory"):
        row = torch.from_numpy(task.sample("valid", 1, seed).input_ids).to(next(model.parameters()).device)
        stated, held = int(model.memory_bytes(row.shape[1])), held_bytes(model, row)
        if stated != held:
            warnings.warn(f"memory_bytes({row.shape[1]}) says {stated}, a prefill holds {held}", stacklevel=2)
        cost["memory_bytes"] = held
        lengths = sorted({*MEMORY_LENGTHS, row.shape[1]})
        cost["memory_bytes_at"] = {str(length): int(model.memory_bytes(length)) for length in lengths}
        cost["decode_tokens_per_second"] = decode_tokens_per_second(model, row)
    return cost


def parameters(model: nn.Module) -> int:
    """Trainable or not, shared ones once."""
    return sum(p.numel() for p in model.parameters())


@torch.no_grad()
def held_bytes(model: Any, row: Tensor) -> int:
    """Bytes that the model's memory of `row` [1, T] holds after reading it."""
    memory = model.new_memory(1)
    model(input_ids=row, past_key_values=memory, use_cache=True)
    return sum(int(layer.nbytes) for layer in memory.layers)


@torch.no_grad()
def decode_tokens_per_second(model: Any, row: Tensor) -> float:
    """Speed of going on from `row` [1, T] token by token, one sequence at a time; the median of the tokens' times."""
    memory = model.new_memory(1)
    ids = model(input_ids=row, past_key_values=memory, use_cache=True).logits[:, -1:].argmax(-1)
    seconds = []
    for _ in range(_DECODED):
        began = time.perf_counter()
        ids = model(input_ids=ids, past_key_values=memory, use_cache=True).logits[:, -1:].argmax(-1)
        int(ids)  # waits for the device
        seconds.append(time.perf_counter() - began)
    return 1 / max(sorted(seconds)[_DECODED // 2], 1e-9)
