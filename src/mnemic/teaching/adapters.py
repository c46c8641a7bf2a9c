"""Low-rank adapters around a causal model, with the markers' own rows trained beside them."""

import warnings
from collections.abc import Sequence
from typing import Any

from torch import nn

from mnemic.errors import MissingExtra, UsageError
from mnemic.teaching.fine_tuning_config import Lora

__all__ = ["merged", "with_adapters"]


def with_adapters(model: Any, lora: Lora, new_tokens: Sequence[int]) -> nn.Module:
    """Freeze a model and add adapters; without their own rows the markers would stay where they were initialised.

    Args:
        new_tokens: ids whose rows in the embedding, and in a head of its own, are trained.

    Raises:
        UsageError: peft does not find the targets in this model.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ModuleNotFoundError:
        raise MissingExtra("training adapters (lora)", "teaching") from None
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets if isinstance(lora.targets, str) else list(lora.targets),
        trainable_token_indices={name: sorted(new_tokens) for name in _tables(model)},
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # peft asks by the old name
            adapted: nn.Module = get_peft_model(model, config)
    except ValueError as refused:
        raise UsageError(f"lora.targets={lora.targets!r} does not fit {type(model).__name__}: {refused}") from refused
    return adapted


def merged(model: Any) -> Any:
    """The plain model that an adapted one stands for; any other as it is."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def _tables(model: Any) -> list[str]:
    """The last parts of the names of the embedding and, if its weights are its own, the head."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    tables = [embedding] if head is None or head.weight is embedding.weight else [embedding, head]
    return [name.rpartition(".")[2] for name, module in model.named_modules() if any(module is t for t in tables)]
