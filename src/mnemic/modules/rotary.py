"""Rotary positions (Su et al. 2021, arXiv 2104.09864), in the rotate-half layout of Llama.

Legend: B batch, H heads, T time, D head width.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["apply_rotary", "rotary_frequencies"]


def rotary_frequencies(
    head_width: int, theta: float, scaling: Mapping[str, Any] | None, device: torch.device
) -> Tensor:
    """[D/2] float32: the angle per position of each pair of channels (i, i + D/2).

    Args:
        scaling: None, {"rope_type": "linear", "factor"} or {"rope_type": "llama3", "factor", "low_freq_factor",
            "high_freq_factor", "original_max_position_embeddings"}, as in transformers' configs.

    Raises:
        ValueError: another rope_type.
    """
    # computed, not a buffer: from_pretrained leaves non-persistent buffers uninitialised
    frequencies = theta ** (-torch.arange(0, head_width, 2, device=device, dtype=torch.float32) / head_width)
    kind = (scaling or {}).get("rope_type", "default")
    if scaling is None or kind == "default":
        return frequencies
    if kind == "linear":
        return frequencies / scaling["factor"]
    if kind == "llama3":
        wavelength = 2 * math.pi / frequencies
        original = scaling["original_max_position_embeddings"]
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        smooth = ((original / wavelength - low) / (high - low)).clamp(0, 1)
        return (1 - smooth) * frequencies / scaling["factor"] + smooth * frequencies
    raise ValueError(f"rope_type is '{kind}'; known: default, linear, llama3")


def apply_rotary(x: Tensor, positions: Tensor, frequencies: Tensor) -> Tensor:
    """x: [B, H, T, D], positions: [B, T] or [1, T], frequencies: [D/2] -> [B, H, T, D]."""
    angles = positions[:, None, :, None].to(torch.float32) * frequencies
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
