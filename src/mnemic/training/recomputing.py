"""Layers that keep their input only and are computed again on the way back: less memory, a third more work."""

from typing import Any

from mnemic.errors import UsageError

__all__ = ["set_checkpointing"]


def set_checkpointing(model: Any, *, on: bool) -> None:
    """Switch a transformers model's gradient checkpointing.

    Raises:
        UsageError: it has none.
    """
    if not getattr(model, "supports_gradient_checkpointing", False):
        raise UsageError(f"{type(model).__name__} has no gradient checkpointing; set checkpointing=false")
    newer = (
        "activation_checkpointing" if hasattr(model, "activation_checkpointing_enable") else "gradient_checkpointing"
    )
    if on:
        getattr(model, f"{newer}_enable")({"use_reentrant": False})
    else:
        getattr(model, f"{newer}_disable")()
