"""Where a loss went wrong: the failing batch is run again and the first layer that is not finite is named."""

from typing import Any

import torch
from torch import Tensor, nn

from mnemic.training.objective import AskedLoss, Batch

__all__ = ["first_nonfinite"]


def first_nonfinite(objective: AskedLoss, batch: Batch) -> str | None:
    """Name the first place, in order of computation, that holds NaN or infinity for this batch.

    Looked for in this order: the parameters, each module's output as it is computed, the loss, the gradients (from the
    loss backwards). The model must be as it was before the step that failed; None: all is finite this time.
    """
    model = objective.model
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            return f"parameter '{name}'"
    found = _first_output(objective, batch)
    if found is not None:
        return found
    loss = objective(batch)
    if not torch.isfinite(loss):
        return "the loss itself (every layer's output is finite)"
    return _first_gradient(model, loss)


def _first_output(objective: AskedLoss, batch: Batch) -> str | None:
    names = {module: name for name, module in objective.model.named_modules() if name}
    found: list[str] = []

    def look(module: nn.Module, _: Any, output: Any) -> None:
        if not found and not all(torch.isfinite(x).all() for x in _tensors(output)):
            found.append(f"the output of layer '{names[module]}' ({type(module).__name__})")

    hooks = [module.register_forward_hook(look) for module in names]
    try:
        with torch.no_grad():
            objective.logits(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def _first_gradient(model: nn.Module, loss: Tensor) -> str | None:
    """The parameter whose gradient is reached first on the way back from the loss."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, [p for _, p in trained], allow_unused=True)
    named = zip((name for name, _ in trained), gradients, strict=True)
    bad = [name for name, gradient in named if gradient is not None and not torch.isfinite(gradient).all()]
    return f"the gradient of '{bad[-1]}'" if bad else None


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    if isinstance(output, dict):
        return [x for value in output.values() for x in _tensors(value)]
    if isinstance(output, (list, tuple)):
        return [x for value in output for x in _tensors(value)]
    return []
