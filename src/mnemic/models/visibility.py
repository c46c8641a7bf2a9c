"""A rule of who sees whom, given to a model in the form that its layers and its attention kernel take.

Works on any transformers decoder that builds no mask of its own where one is given, and on the host.

Legend: B batch, T time.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from mnemic.errors import UsageError
from mnemic.models.config import MnemicConfig
from mnemic.ops.visibility import visibility_block_mask, visibility_mask

__all__ = ["LayerKind", "attention_masks", "layer_kinds", "masked_by_layer_type"]

LayerKind = Literal["full_attention", "sliding_attention", "linear_attention"]

_HOST_KINDS: dict[str, LayerKind] = {"attention": "full_attention", "sliding-window": "sliding_attention"}
_KINDS: dict[str, LayerKind] = {
    "full_attention": "full_attention",
    "sliding_attention": "sliding_attention",
    "linear_attention": "linear_attention",
}


def layer_kinds(config: Any) -> list[LayerKind]:
    """What each layer of a model remembers with; only full attention can hide or evict keys.

    Raises:
        UsageError: a layer of a kind whose masks are not known here.
    """
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    if isinstance(config, MnemicConfig):
        return [_HOST_KINDS.get(layer["mixer"], "linear_attention") for layer in config.layers]
    named = getattr(config, "layer_types", None)
    if named is None:
        window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
        return ["full_attention" if window is None else "sliding_attention"] * int(config.num_hidden_layers)
    unknown = sorted(set(named) - set(_KINDS))
    if unknown:
        raise UsageError(
            f"{type(config).__name__} has layers of type {', '.join(unknown)}; known: {', '.join(sorted(_KINDS))}"
        )
    return [_KINDS[name] for name in named]


def masked_by_layer_type(config: Any) -> bool:
    """Whether the model takes a dictionary of masks by layer type instead of one mask."""
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    return isinstance(config, MnemicConfig) or len(set(getattr(config, "layer_types", None) or ())) > 1


def attention_masks(
    config: Any, visible_until: Tensor, documents: Tensor | None = None, real: Tensor | None = None
) -> Any:
    """What a model takes as `attention_mask` so that query q sees key k exactly when k <= q < visible_until[k].

    Sliding-window layers keep their window and hide nothing else: at generation they evict by themselves.

    Args:
        config: the model's, whose attention implementation decides the form: booleans for sdpa, floats for eager (which
            would add booleans as 0 and 1), tiles for flex_attention.
        visible_until: [B, T].
        documents: [B, T], for packed rows; None where every row is one document.
        real: [B, T] of bool, False on padding, which only recurrent layers ask for; None where nothing is padded.

    Raises:
        UsageError: an implementation that cannot express the rule.
    """
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    implementation = "sdpa" if isinstance(text, MnemicConfig) else text._attn_implementation
    kinds = set(layer_kinds(text))

    def mask(until: Tensor, window: int | None) -> Any:
        if implementation == "flex_attention":
            return visibility_block_mask(until, documents, window)
        dense = visibility_mask(until, documents, window)
        if implementation == "sdpa":
            return dense
        if implementation == "eager":
            lowest = torch.finfo(_dtype(text)).min
            return torch.zeros_like(dense, dtype=_dtype(text)).masked_fill(~dense, lowest)
        raise UsageError(
            f"attention implementation '{implementation}' cannot hide single keys; "
            "load the model with attn_implementation='sdpa', 'eager' or 'flex_attention'"
        )

    full = mask(visible_until, None)
    if not masked_by_layer_type(text) and kinds == {"full_attention"}:
        return full
    masks = {"full_attention": full, "linear_attention": real}
    if "sliding_attention" in kinds and not isinstance(text, MnemicConfig):
        within = torch.full_like(visible_until, visible_until.shape[1])
        if real is not None:  # padding is seen by nobody but itself, which keeps what it returns finite
            within = within.where(real, torch.arange(1, visible_until.shape[1] + 1, device=real.device))
        masks["sliding_attention"] = mask(within, text.sliding_window)
    return masks if masked_by_layer_type(text) else masks["sliding_attention"]


def _dtype(config: Any) -> torch.dtype:
    dtype = getattr(config, "dtype", None)
    return dtype if isinstance(dtype, torch.dtype) else torch.get_default_dtype()
