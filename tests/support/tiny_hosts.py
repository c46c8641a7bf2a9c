"""Host models of a few thousand weights, one for every mixer of the catalogue, and a hybrid."""

from collections.abc import Iterable
from typing import Any

import torch

from mnemic.catalogue import SYSTEMS
from mnemic.models import MnemicConfig, MnemicForCausalLM

__all__ = ["FAMILIES", "tiny_host"]

FAMILIES = [*(name for name, system in SYSTEMS.items() if system.place in ("state", "context")), "mamba2+attention"]

# these read what earlier chunks have written, and the rows of the tests are short
SHORT = {"moneta": {"chunk_size": 2}, "memora": {"chunk_size": 2}}


def tiny_host(family: str, vocabulary: int, *, seed: int = 0, **options: Any) -> MnemicForCausalLM:
    """Two layers of width 32, in float32, weights drawn from `seed`."""
    torch.manual_seed(seed)
    layers: Iterable[dict[str, Any]] = [{"mixer": name, **SHORT.get(name, {})} for name in family.split("+")]
    given = {"hidden_size": 32, "num_hidden_layers": 2, "layers": list(layers), **options}
    return MnemicForCausalLM(MnemicConfig(vocab_size=vocabulary, **given))
