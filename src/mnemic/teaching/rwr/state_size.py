"""Bytes of the state that a recurrent model carries from token to token, whatever it has read."""

from typing import Any

import torch
from transformers.cache_utils import LinearAttentionCacheLayerMixin

from mnemic.catalogue import find_system
from mnemic.errors import UsageError
from mnemic.models.config import MnemicConfig
from mnemic.teaching.rwr.forks import read

__all__ = ["state_bytes", "state_bytes_if_any"]

_FAR = 2**20


def state_bytes(model: Any) -> int:
    """Bytes of one sequence's recurrent state, all layers together; layers that keep tokens are left out.

    Raises:
        UsageError: no layer has a state of constant size.
    """
    found = state_bytes_if_any(model)
    if found is None:
        raise UsageError(
            f"{type(_base(model)).__name__} has no recurrent state: its memory grows with what it reads, or is a "
            "window of it; ask for the bytes that it holds after a context instead"
        )
    return found


def state_bytes_if_any(model: Any) -> int | None:
    """The same; None where no layer has a state of constant size."""
    base = _base(model)
    if isinstance(base.config, MnemicConfig):
        total = sum(_host_layer(base, index) for index in range(base.config.num_hidden_layers))
    else:
        total = sum(
            state.nbytes
            for layer in read(model, torch.zeros(1, 1, dtype=torch.int64)).memory.layers
            if isinstance(layer, LinearAttentionCacheLayerMixin)
            for state in (*layer.conv_states.values(), *layer.recurrent_states.values())
            if state is not None
        )
    return total or None


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _host_layer(model: Any, index: int) -> int:
    mixer, dtype = model.model.mixers[index], model.model.embed_tokens.weight.dtype
    if find_system(model.config.layers[index]["mixer"]).place != "state":
        return 0
    held = int(mixer.memory_bytes(_FAR, dtype))
    return held if held == mixer.memory_bytes(2 * _FAR, dtype) else 0
