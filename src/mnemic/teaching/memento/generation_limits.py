"""What `generate` offers and eviction cannot do, refused with the reason.

Legend: B rows, T tokens of the prompts.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import DynamicCache

from mnemic.errors import UsageError
from mnemic.modules.memory import LayerMemory

__all__ = ["check_arguments", "check_generation", "left_padded"]

_UNDERSTOOD = {"attention_mask", "position_ids", "past_key_values", "use_cache", "logits_to_keep"}


def check_arguments(generate: Mapping[str, Any]) -> None:
    """Refuse what `generate` would use up before a custom loop could see it.

    Raises:
        UsageError: assisted decoding, a paged or compiled cache, a loop of its own.
    """
    if generate.get("assistant_model") is not None:
        raise UsageError(
            "assistant_model: assisted decoding crops rejected tokens, but an evicted block cannot come back"
        )
    if generate.get("cache_implementation") is not None:
        raise UsageError(
            f"cache_implementation={generate['cache_implementation']!r}: static, quantised and paged caches have no "
            "way to remove a span; leave it out"
        )
    if generate.get("custom_generate") is not None:
        raise UsageError("custom_generate: memento_generate is a decoding loop of its own")


def check_generation(config: Any, model_kwargs: Mapping[str, Any], synced_gpus: bool) -> None:
    """Refuse what cannot work.

    Args:
        config: transformers' generation config.
        model_kwargs: what `generate` would give to the model.

    Raises:
        UsageError: with the reason.
    """
    if (config.num_beams or 1) > 1:
        raise UsageError(
            f"num_beams={config.num_beams}: beams share and swap caches whose evictions differ; "
            "sample with num_return_sequences instead"
        )
    if config.prompt_lookup_num_tokens is not None:
        raise UsageError("prompt_lookup_num_tokens: assisted decoding cannot bring an evicted block back")
    if config.use_cache is False or model_kwargs.get("use_cache") is False:
        raise UsageError("use_cache=False: without a cache there is nothing to evict; leave it out")
    check_arguments({"cache_implementation": config.cache_implementation})
    if config.output_attentions or config.output_hidden_states:
        raise UsageError(
            "output_attentions and output_hidden_states: not kept, since the keys they belong to are evicted"
        )
    if synced_gpus:
        raise UsageError(
            "synced_gpus=True: rows of one process would have to wait for another's; gather the model first"
        )
    held = model_kwargs.get("past_key_values")
    if held is not None and not _is_fresh(held):
        raise UsageError(
            f"past_key_values is a {type(held).__name__} that cannot be taken over; "
            "give the whole conversation as the prompt"
        )
    unknown = sorted(key for key, value in model_kwargs.items() if key not in _UNDERSTOOD and value is not None)
    if unknown:
        raise UsageError(
            f"{', '.join(unknown)}: only input_ids, attention_mask and roles can be given to memento decoding"
        )


def left_padded(input_ids: Tensor, attention_mask: Tensor | None) -> list[int]:
    """Per row of [B, T], where its tokens begin.

    Raises:
        UsageError: padding anywhere but on the left.
    """
    if attention_mask is None:
        return [0] * len(input_ids)
    real = attention_mask.bool()
    if real.shape != input_ids.shape or bool((real[:, 1:] < real[:, :-1]).any()):
        raise UsageError(
            f"attention_mask {tuple(real.shape)} must cover the prompts {tuple(input_ids.shape)} and be 0 only on "
            "their left; set tokenizer.padding_side='left'"
        )
    return (~real).sum(1).tolist()


def _is_fresh(cache: Any) -> bool:
    """What `generate` makes by itself and nobody has written to."""
    if cache.layers and all(isinstance(layer, LayerMemory) for layer in cache.layers):
        return all(layer.seen == 0 for layer in cache.layers)
    return isinstance(cache, DynamicCache) and cache.get_seq_length() == 0
