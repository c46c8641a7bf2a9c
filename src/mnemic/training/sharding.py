"""A model cut over processes by FSDP2, and its tensors put together again for checkpoints that any number can read.

Gathered by hand: torch.distributed.checkpoint was seen to abort at the interpreter's exit on CPUs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from mnemic.errors import UsageError
from mnemic.training.objective import AskedLoss

__all__ = [
    "gathered_optimizer",
    "gathered_weights",
    "is_cut",
    "load_weights",
    "scattered_optimizer",
    "shard",
    "sync_gradients",
    "whole",
]


def shard(objective: AskedLoss, device: torch.device, processes: int) -> None:
    """Cut every decoder layer, then what is left, evenly over all processes, in place.

    On a GPU under bf16 the layers compute in bfloat16 and sum their gradients in float32; the sharded parameters keep
    the precision they came in.

    Raises:
        UsageError: a model that does not say which of its modules are layers.
    """
    base = objective.base
    names = getattr(base, "_no_split_modules", None)
    layers = [module for module in base.modules() if type(module).__name__ in (names or ())]
    if not layers:
        raise UsageError(
            f"{type(base).__name__} names no layers to shard (_no_split_modules); train it with shard=false"
        )
    half = objective.precision == "bf16" and device.type == "cuda"
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if half else MixedPrecisionPolicy()
    mesh = init_device_mesh(device.type, (processes,))
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(objective, mesh=mesh, mp_policy=policy)
    for method in ("logits", "logprobs", "scores"):
        register_fsdp_forward_method(objective, method)


def is_cut(tensor: Tensor) -> bool:
    """Whether this process holds only a part of it."""
    return isinstance(tensor, DTensor)


@contextmanager
def sync_gradients(objective: AskedLoss, on: bool) -> Iterator[None]:
    """Within, a backward pass sums gradients over processes, or leaves that to a later one."""
    assert isinstance(objective, FSDPModule)
    objective.set_requires_gradient_sync(on)
    try:
        yield
    finally:
        objective.set_requires_gradient_sync(True)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, wherever its parts lie; every process must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gathered_weights(model: nn.Module, *, keep: bool) -> dict[str, Tensor]:
    """Trained parameters and buffers, shared ones once; empty where `keep` is not set."""
    persistent = model.state_dict().keys()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in persistent}
    return _gathered({**trained, **buffers}, keep)


def gathered_optimizer(optimizer: Optimizer, *, keep: bool) -> dict[str, Any]:
    """The optimiser's state_dict with whole tensors; no state where `keep` is not set."""
    found = optimizer.state_dict()
    state = {index: _gathered(values, keep) for index, values in found["state"].items()}
    return {**found, "state": state if keep else {}}


def load_weights(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Give a model its trained weights, every process its part of them where it is sharded.

    Raises:
        RuntimeError: a weight is missing or has another shape.
    """
    unread = set(tensors)
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
    given: set[int] = set()
    for name, own in named:
        if name not in tensors:
            continue
        unread.discard(name)
        given.add(id(own))
        if own.shape != tensors[name].shape:
            raise RuntimeError(f"{name} is {tuple(tensors[name].shape)}, the model's is {tuple(own.shape)}")
        with torch.no_grad():
            own.copy_(_cut_like(own, tensors[name]))
    missing = [name for name, p in model.named_parameters() if id(p) not in given and p.requires_grad]
    if missing or unread:
        raise RuntimeError(
            f"missing {', '.join(missing) or 'nothing'}; unknown {', '.join(sorted(unread)) or 'nothing'}"
        )


def scattered_optimizer(optimizer: Optimizer, state: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """An optimiser's state by the parameters' numbers, every tensor cut as its parameter is."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        index: {name: _cut_like(parameters[index], v) if isinstance(v, Tensor) else v for name, v in values.items()}
        for index, values in state.items()
    }


def _cut_like(own: Tensor, full: Tensor) -> Tensor:
    """`full` cut as `own` is, if it is."""
    if not isinstance(own, DTensor) or full.shape != own.shape:
        return full
    return distribute_tensor(full.to(own.device), own.device_mesh, own.placements, src_data_rank=None)


def _gathered(values: dict[str, Any], keep: bool) -> dict[str, Any]:
    """One after the other, so that a process that keeps nothing holds one whole tensor at a time."""
    kept = {}
    for name, value in values.items():
        full = whole(value.detach()) if isinstance(value, Tensor) else value
        if keep:
            kept[name] = full.cpu() if isinstance(full, Tensor) else full
    return kept
