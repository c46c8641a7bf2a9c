"""The step sizes of Mamba layers, read and changed from outside while a model runs.

A step Δ = softplus(raw + bias) says how much of a token is written and how much of the state it replaces: at zero the
token leaves no trace. `raw` is linear in what the layer reads, so that any change of the form below reaches it through
the output of one projection, in the host's Mamba-2 as in the Mamba and Mamba-2 of transformers, kernels or not.

Legend: B rows, T tokens of a call, H heads (channels in Mamba-1), R rank of Mamba-1's steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers.models.mamba.modeling_mamba import MambaMixer
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

from mnemic.errors import UsageError
from mnemic.state.mamba2 import Mamba2

__all__ = ["NO_STEP", "StepChange", "change_steps", "has_steps", "heads_of", "layers_of", "shortest_step"]

NO_STEP = -1e4  # an offset whose softplus is 0 in every precision, and which float16 still holds


@dataclass(frozen=True)
class StepChange:
    """raw becomes scale * raw + flag * offset.

    Attributes:
        flag: [B, T], which tokens the offset is for.
        offset: [H].
        scale: [B, T], None for 1.
    """

    flag: Tensor
    offset: Tensor
    scale: Tensor | None = None


Change = Callable[[Tensor], StepChange | None]
"""Asked at every call with the steps [B, T, H] that the layer would take; None leaves them."""


def layers_of(model: Any) -> list[nn.Module]:
    """The blocks of a host model, or of a transformers Mamba, in order.

    Raises:
        UsageError: a model of another shape.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    layers = getattr(getattr(base, "base_model", None), "layers", None)
    if not isinstance(layers, nn.ModuleList) or not any(map(has_steps, layers)):
        raise UsageError(f"{type(base).__name__} has no layer of Mamba or Mamba-2, whose steps say what a token weighs")
    return list(layers)


def has_steps(layer: nn.Module) -> bool:
    return isinstance(getattr(layer, "mixer", None), Mamba2 | Mamba2Mixer | MambaMixer)


def heads_of(layer: nn.Module) -> int:
    """H of a layer that has steps."""
    return _mixer(layer).A_log.shape[0]


def shortest_step(layer: nn.Module) -> float:
    """The bound below which no step of a layer falls."""
    return _limit(_mixer(layer))[0]


def change_steps(layer: nn.Module, change: Change) -> list[RemovableHandle]:
    """Let `change` decide over the steps of a layer that has some, until the handles are removed."""
    mixer = _mixer(layer)
    if isinstance(mixer, MambaMixer):
        return _change_mamba1(mixer, change)
    proj: nn.Module = mixer.proj if isinstance(mixer, Mamba2) else mixer.in_proj
    heads = mixer.A_log.shape[0]

    def hook(_: nn.Module, __: Any, out: Tensor) -> Tensor | None:
        raw = out[..., -heads:]
        wanted = change(_steps(raw, mixer.dt_bias, _limit(mixer)))
        if wanted is None:
            return None
        scaled = raw if wanted.scale is None else raw * wanted.scale[..., None].to(raw.dtype)
        changed = scaled + (wanted.flag[..., None].to(raw.dtype) * wanted.offset.to(raw.dtype))
        return torch.cat([out[..., :-heads], changed], dim=-1)

    return [proj.register_forward_hook(hook)]


def _change_mamba1(mixer: MambaMixer, change: Change) -> list[RemovableHandle]:
    """Mamba-1 multiplies R numbers a token by `dt_proj.weight`: one number more carries the flag, for one call."""
    narrow, rank = mixer.dt_proj, int(mixer.time_step_rank)

    def widen(_: nn.Module, __: Any, out: Tensor) -> Tensor | None:
        small, rest = out.split([rank, out.shape[-1] - rank], dim=-1)
        wanted = change(_steps(F.linear(small, narrow.weight), narrow.bias, _limit(mixer)))
        if wanted is None:
            return None
        small = small if wanted.scale is None else small * wanted.scale[..., None].to(small.dtype)
        wide: Any = nn.Module()
        wide.weight = torch.cat([narrow.weight, wanted.offset[:, None].to(narrow.weight.dtype)], dim=1)
        wide.bias = narrow.bias
        mixer.dt_proj, mixer.time_step_rank = wide, rank + 1
        return torch.cat([small, wanted.flag[..., None].to(small.dtype), rest], dim=-1)

    def narrow_again(*_: Any) -> None:
        mixer.dt_proj, mixer.time_step_rank = narrow, rank

    return [
        mixer.x_proj.register_forward_hook(widen),
        mixer.register_forward_hook(narrow_again, always_call=True),
    ]


def _steps(raw: Tensor, bias: Tensor, limit: tuple[float, float | None]) -> Tensor:
    wide = torch.promote_types(raw.dtype, torch.float32)
    return F.softplus(raw.to(wide) + bias.to(wide)).clamp(*limit)


def _limit(mixer: Any) -> tuple[float, float | None]:
    if isinstance(mixer, Mamba2):
        return mixer.config.dt_limit
    return tuple(getattr(mixer, "time_step_limit", (0.0, None)))


def _mixer(layer: nn.Module) -> Any:
    return layer.mixer
