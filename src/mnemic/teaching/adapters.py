"""Low-rank adapters around a causal model, and rows of new tokens that are trained beside them.

Two things would go wrong in silence. The fused kernels that transformers uses to train Mamba take the weights of
`x_proj`, `dt_proj` and `out_proj` past the adapters, and `dt_proj` is read so by all others too. And where head and
embedding are one tensor, adapters of both are merged into it one after the other, and the merged model is another.
"""

import re
import warnings
from collections.abc import Sequence
from typing import Any, Final

from torch import nn

from mnemic.errors import MissingExtra, UsageError
from mnemic.teaching.tuning_options import Lora

__all__ = ["merged", "with_adapters"]

_ALL: Final = "all-linear"
_READ_PAST: Final = "dt_proj"

# What ReMamba adapts (lblankl/ReMamba), but for out_proj, which peft refuses in these models.
_MAMBA_TARGETS = {
    "mamba": ("in_proj", "x_proj", "embeddings", "lm_head"),
    "falcon_mamba": ("in_proj", "x_proj", "embeddings", "lm_head"),
    "mamba2": ("in_proj", "embeddings", "lm_head"),
}


def with_adapters(model: Any, lora: Lora, new_tokens: Sequence[int] = ()) -> nn.Module:
    """Freeze a model and add adapters; without their own rows new tokens would stay where they were initialised.

    A head that shares the embedding's weights gets its own, if either is adapted.

    Args:
        new_tokens: ids whose rows in the embedding, and in a head of its own, are trained.

    Raises:
        UsageError: peft does not find the targets in this model, or no adapter can be trained there.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ModuleNotFoundError:
        raise MissingExtra("training adapters (lora)", "teaching") from None
    targets = _targets(model, lora)
    if any(_is_named(name, targets) for name in _tables(model)):
        _untie(model)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        trainable_token_indices=_new_rows(model, new_tokens) if new_tokens else None,
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # peft asks by the old name
            adapted: nn.Module = get_peft_model(model, config)
    except ValueError as refused:
        raise UsageError(f"lora.targets={lora.targets!r} does not fit {type(model).__name__}: {refused}") from refused
    for module in adapted.modules():
        if _has_fused_kernel(module):
            module.register_forward_pre_hook(_leave_fused_kernel)
    return adapted


def merged(model: Any) -> Any:
    """The plain model that an adapted one stands for; any other as it is."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def _targets(model: Any, lora: Lora) -> str | tuple[str, ...]:
    kind = model.config.model_type
    if lora.targets == _ALL:
        return _MAMBA_TARGETS.get(kind, _ALL)
    named = lora.targets if isinstance(lora.targets, tuple) else (lora.targets,)
    if kind in _MAMBA_TARGETS and _READ_PAST in named:
        raise UsageError(
            f"lora.targets={lora.targets!r}: {type(model).__name__} reads the weights of {_READ_PAST} past any "
            f"adapter, which would never be trained; name others, such as {','.join(_MAMBA_TARGETS[kind])}"
        )
    return lora.targets


def _has_fused_kernel(module: nn.Module) -> bool:
    is_theirs = type(module).__module__.startswith("transformers.")
    return is_theirs and all(hasattr(module, name) for name in ("A_log", "conv1d", "in_proj", "out_proj"))


def _leave_fused_kernel(module: nn.Module, _: Any) -> None:
    """The kernel is for layers in training; this flag is the layer's own, those of its parts stay."""
    module.training = False


def _untie(model: Any) -> None:
    head = model.get_output_embeddings()
    if head is not None and head.weight is model.get_input_embeddings().weight:
        head.weight = nn.Parameter(head.weight.detach().clone())
        model.config.tie_word_embeddings = False


def _new_rows(model: Any, tokens: Sequence[int]) -> dict[str, list[int]]:
    """By the last part of the names of the embedding and, if its weights are its own, the head."""
    names = _tables(model)
    is_shared = len(names) > 1 and model.get_output_embeddings().weight is model.get_input_embeddings().weight
    return {name.rpartition(".")[2]: sorted(tokens) for name in names[: 1 if is_shared else None]}


def _tables(model: Any) -> list[str]:
    """Names of the embedding and the head."""
    tables = [table for table in (model.get_input_embeddings(), model.get_output_embeddings()) if table is not None]
    names = {module: name for name, module in model.named_modules()}
    return [names[table] for table in tables]


def _is_named(name: str, targets: str | tuple[str, ...]) -> bool:
    """As peft reads targets: an expression for the whole name, or last parts of names."""
    if isinstance(targets, str):
        return targets != _ALL and re.fullmatch(targets, name) is not None
    return any(name == target or name.endswith(f".{target}") for target in targets)
