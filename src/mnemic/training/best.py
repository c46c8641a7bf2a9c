"""The weights of the best evaluation so far, kept beside the checkpoints: whole or not there.

best/
  model.safetensors   the trained parameters
  best.json           step, score, what it is a score of
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mnemic.errors import MnemicError
from mnemic.training.sharding import load_weights

__all__ = ["load_best", "save_best"]


def save_best(folder: Path, weights: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Replace the best weights in `folder`.

    Raises:
        MnemicError: they cannot be written; those that were there still are, there or under `.best.old`.
    """
    aside, old = folder.with_name(f".{folder.name}.{os.getpid()}"), folder.with_name(f".{folder.name}.old")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, aside / "model.safetensors")
        (aside / "best.json").write_text(json.dumps(about), encoding="utf-8")
        for path in aside.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        aside.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as failed:
        shutil.rmtree(aside, ignore_errors=True)
        raise MnemicError(f"cannot write the best weights to {folder}: {failed}; make room, then resume") from failed


def load_best(folder: Path, model: nn.Module) -> dict[str, Any]:
    """Put the best weights into `model` and say what is known of them.

    Raises:
        MnemicError: there are none, or they are another model's.
    """
    try:
        about: dict[str, Any] = json.loads((folder / "best.json").read_text(encoding="utf-8"))
        load_weights(model, load_file(folder / "model.safetensors"))
    except (OSError, ValueError, RuntimeError, SafetensorError) as failed:
        raise MnemicError(f"cannot read the best weights of {folder}: {failed}") from failed
    return about
