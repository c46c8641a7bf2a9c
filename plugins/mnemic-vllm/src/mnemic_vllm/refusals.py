"""What cannot be served with eviction, said before a model is loaded rather than by wrong answers later."""

from collections.abc import Iterator
from typing import Any

from mnemic.errors import UsageError

__all__ = ["check", "reasons"]


def check(vllm_config: Any, kv_cache_config: Any = None) -> None:
    """
    Args:
        vllm_config: vLLM's VllmConfig.
        kv_cache_config: vLLM's KVCacheConfig, once it is known.

    Raises:
        UsageError: naming every setting that stands in the way.
    """
    found = [*reasons(vllm_config), *(_cache_reasons(kv_cache_config) if kv_cache_config is not None else ())]
    if found:
        raise UsageError("mnemic-vllm cannot evict blocks here: " + "; ".join(found))


def reasons(vllm_config: Any) -> Iterator[str]:
    """Why this configuration cannot be served, one line each."""
    cache, scheduler, parallel = vllm_config.cache_config, vllm_config.scheduler_config, vllm_config.parallel_config
    if cache.enable_prefix_caching:
        yield "prefix caching shares pages whose keys would move (--no-enable-prefix-caching)"
    if getattr(scheduler, "async_scheduling", False):
        yield (
            "async scheduling feeds a token before it is known, and a block must leave before its memento's end is fed "
            "(--no-async-scheduling)"
        )
    for name in ("pipeline", "decode_context", "prefill_context"):
        size = getattr(parallel, f"{name}_parallel_size", 1)
        if size > 1:
            yield f"{name.replace('_', ' ')} parallelism is {size}; only 1 is served"
    if getattr(vllm_config, "speculative_config", None) is not None:
        yield "speculative decoding may take back tokens after their block has gone"
    if getattr(vllm_config, "kv_transfer_config", None) is not None:
        yield "a KV connector would send pages whose keys have moved"
    model = vllm_config.model_config
    if getattr(model, "is_encoder_decoder", False):
        yield "encoder-decoder models have no stream of blocks"
    if getattr(model, "use_mla", False):
        yield "latent attention (MLA) lays its cache out otherwise"


def _cache_reasons(kv_cache_config: Any) -> Iterator[str]:
    groups = kv_cache_config.kv_cache_groups
    specs = [group.kv_cache_spec for group in groups]
    windowed = [s for s in specs if getattr(s, "sliding_window", None) or getattr(s, "attention_chunk_size", None)]
    if windowed:
        yield f"{len(windowed)} of {len(specs)} groups of layers see a window only, which closing gaps would shift"
    other = sorted({type(s).__name__ for s in specs if type(s).__name__ != "FullAttentionSpec"} - {"SlidingWindowSpec"})
    if other:
        yield f"layers of kind {', '.join(other)} do not hold one key per token"
    if len(specs) != 1 and not windowed and not other:
        yield f"the layers form {len(specs)} groups with pages of their own; one is served"
