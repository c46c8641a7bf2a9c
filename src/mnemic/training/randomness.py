"""The state of every generator that training may draw from, as tensors and JSON."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["capture", "restore", "seed_all"]


def seed_all(seed: int) -> None:
    """Start torch's (every device's), numpy's and Python's generators from one seed."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - mixers of third parties may draw from it
    random.seed(seed)


def capture() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What :func:`restore` takes: tensors by name, and the rest."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002
    version, internal, python_gauss = random.getstate()
    tensors = {"torch": torch.get_rng_state(), "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64))}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        tensors |= {f"cuda{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())}
    return tensors, {"numpy": [name, position, has_gauss, gauss], "python": [version, list(internal), python_gauss]}


def restore(tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Put the generators back where :func:`capture` found them."""
    torch.set_rng_state(tensors["torch"])
    name, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, tensors["numpy"].numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    version, internal, python_gauss = state["python"]
    random.setstate((version, tuple(internal), python_gauss))
    cuda = [tensors[f"cuda{index}"] for index in range(len(tensors)) if f"cuda{index}" in tensors]
    if cuda and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(cuda)
