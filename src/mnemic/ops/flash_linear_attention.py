"""The kernels of flash-linear-attention (Yang & Zhang 2024) behind our signatures: backend "fla", on CUDA only.

Theirs want time before heads, [B, T, H, D], log decays, and states [B, H, K, V] in float32; results are ours within the
rounding of their tensor cores. Checked against version 0.6.

Legend: B batch, H heads, G groups of heads that share queries and keys, T time, K key width, V value width.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from mnemic.errors import MissingExtra, UsageError

__all__ = ["Backend", "decayed_linear_attention_fla", "gated_delta_rule_fla", "gated_linear_attention_fla"]

Backend: TypeAlias = Literal["torch", "fla"]


def decayed_linear_attention_fla(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """As `decayed_linear_attention`; without a log decay, plain linear attention.

    Raises:
        UsageError: the tensors are not on CUDA.
        MissingExtra: flash-linear-attention is not installed.
    """
    kernel = _kernel("simple_gla", "chunk_simple_gla", q)
    q, k = (x.repeat_interleave(v.shape[1] // x.shape[1], dim=1) for x in (q, k))
    decays = {} if log_decay is None else {"g": _time_first(log_decay.float())}
    o, final = kernel(
        q=_time_first(q), k=_time_first(k), v=_time_first(v.to(q.dtype)), **decays, scale=1.0,
        initial_state=state, output_final_state=True,
    )  # fmt: skip
    return _time_first(o).to(v.dtype), final


def gated_linear_attention_fla(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """As `gated_linear_attention`; raises as :func:`decayed_linear_attention_fla`."""
    kernel = _kernel("gla", "chunk_gla", q)
    o, final = kernel(
        q=_time_first(q), k=_time_first(k), v=_time_first(v.to(q.dtype)), g=_time_first(log_decay.float()), scale=1.0,
        initial_state=state, output_final_state=True,
    )  # fmt: skip
    return _time_first(o).to(v.dtype), final


def gated_delta_rule_fla(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor | None, state: Tensor | None,
    scale: float, normalise: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """As `gated_delta_rule`; raises as :func:`decayed_linear_attention_fla`."""
    options = {
        "scale": scale, "initial_state": state, "output_final_state": True, "use_qk_l2norm_in_kernel": normalise,
    }  # fmt: skip
    tokens = {"q": _time_first(q), "k": _time_first(k), "v": _time_first(v.to(q.dtype))}
    if log_decay is None and q.dtype != torch.float32:
        kernel = _kernel("delta_rule", "chunk_delta_rule", q)
        o, final = kernel(**tokens, beta=_time_first(beta.to(q.dtype)), **options)
    else:  # their plain rule refuses float32; the gated one with open gates is the same function
        kernel = _kernel("gated_delta_rule", "chunk_gated_delta_rule", q)
        decay = torch.zeros_like(beta) if log_decay is None else log_decay
        o, final = kernel(**tokens, g=_time_first(decay.float()), beta=_time_first(beta.float()), **options)
    return _time_first(o).to(v.dtype), final


def _kernel(module: str, name: str, q: Tensor) -> Callable[..., tuple[Tensor, Tensor]]:
    if q.device.type != "cuda":
        raise UsageError(
            f"backend is 'fla', whose kernels run on CUDA only, but the model is on {q.device.type}; "
            "use backend=torch, or move the model to a GPU"
        )
    try:
        kernel: Callable[..., tuple[Tensor, Tensor]] = getattr(import_module(f"fla.ops.{module}"), name)
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] in ("fla", "triton", "einops"):
            raise MissingExtra("backend 'fla'", "fla") from missing
        raise
    return kernel


def _time_first(x: Tensor) -> Tensor:
    """[B, H, T, ...] -> [B, T, H, ...], and back."""
    return x.transpose(1, 2).contiguous()
