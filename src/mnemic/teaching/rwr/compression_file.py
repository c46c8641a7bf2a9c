"""One safetensors file that holds a model with what stands around it, and says what that is: whole, or not there."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model
from torch import nn

from mnemic.errors import MnemicError, UsageError

__all__ = ["NAME", "read_compression_file", "write_compression_file"]

M = TypeVar("M", bound=nn.Module)
NAME = "model.safetensors"
_KEY = "remamba"


def write_compression_file(folder: Path, model: nn.Module, about: Mapping[str, Any]) -> None:
    """
    Args:
        about: JSON, from which the model can be made again, without its weights.

    Raises:
        MnemicError: it cannot be written; a file that was there still is.
    """
    aside = folder / f".{NAME}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_model(model, str(aside), metadata={_KEY: json.dumps(about)})
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(folder / NAME)
    except (OSError, SafetensorError) as failed:
        raise MnemicError(f"cannot write '{folder / NAME}': {failed}") from failed
    finally:
        aside.unlink(missing_ok=True)


def read_compression_file(folder: Path, make: Callable[[dict[str, Any]], M]) -> M:
    """
    Args:
        make: what `about` was -> the model without its weights.

    Raises:
        UsageError: there is no such file, it is damaged, or it is another model's.
    """
    path = folder / NAME
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        if _KEY not in metadata:
            raise UsageError(f"'{path}' is another model's, not a ReMamba's")
        model = make(json.loads(metadata[_KEY]))
        load_model(model, path)
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError) as failed:
        raise UsageError(f"'{path}' holds no ReMamba that can be read: {failed}") from failed
    return model
