"""A transformers model by its name or folder, ready to be taught."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM, AutoTokenizer

from mnemic import models
from mnemic.errors import UsageError
from mnemic.models.visibility import layer_kinds

__all__ = ["AttentionKernel", "load_config", "load_tokenizer", "model_loader"]

AttentionKernel = Literal["auto", "sdpa", "eager", "flex_attention"]
_UNLOADABLE = (OSError, ValueError, ImportError, KeyError, TypeError)


def load_tokenizer(name: str) -> Any:
    """
    Raises:
        UsageError: nothing of that name can be loaded.
    """
    return _loaded("tokenizer", name, AutoTokenizer.from_pretrained)


def load_config(name: str) -> Any:
    """
    Raises:
        UsageError: nothing of that name can be loaded.
    """
    assert models.MnemicForCausalLM is not None  # importing it has registered the host with the auto classes
    return _loaded("model", name, AutoConfig.from_pretrained)


def model_loader(
    name: str,
    *,
    kernel: AttentionKernel | None = "auto",
    half: bool = False,
    on_accelerator: bool = False,
) -> Callable[[], Any]:
    """What loads the model, every time anew; its config is looked at now, so that what cannot be is refused at once.

    Args:
        kernel: of attention; auto: tiles (flex_attention) on an accelerator if the model can, sdpa elsewhere, where
            tiles have no gradient. None: the model's own, whatever its layers are, for rows that hide nothing.
        half: bfloat16 weights, for those that are frozen; otherwise float32.

    Raises:
        UsageError: nothing of that name can be loaded, or a layer is of a kind whose masks are not known.
    """
    config = load_config(name)
    if kernel is not None:
        layer_kinds(config)
    if kernel == "flex_attention" and not on_accelerator:
        raise UsageError("attention flex_attention has no backward pass on the CPU; use sdpa")
    options: dict[str, Any] = {"dtype": torch.bfloat16 if half else torch.float32}
    if kernel is not None and not isinstance(config, models.MnemicConfig):
        tiles = on_accelerator and getattr(_class_of(config), "_supports_flex_attn", False)
        options["attn_implementation"] = ("flex_attention" if tiles else "sdpa") if kernel == "auto" else kernel

    def load() -> Any:
        return _loaded(
            "model", name, lambda path, **given: AutoModelForCausalLM.from_pretrained(path, **given, **options)
        )

    return load


def _class_of(config: Any) -> Any:
    """The causal model's class, None where transformers knows none; loading then says so."""
    try:
        return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    except KeyError:
        return None


def _loaded(kind: str, name: str, load: Callable[..., Any]) -> Any:
    path = Path(name).expanduser()
    if not path.is_dir() and (path.is_absolute() or name.startswith((".", "~"))):
        raise UsageError(f"{kind} '{name}': there is no such folder")
    source = str(path) if path.is_dir() else name
    try:
        try:
            return load(source, local_files_only=True)  # what is here already needs no network
        except _UNLOADABLE:
            if path.is_dir():
                raise
            return load(source)
    except _UNLOADABLE as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UsageError(f"{kind} '{name}' cannot be loaded: {reason}") from error
