"""AdamW with the right groups, and its learning rate as a function of the step."""

import math

from torch import nn
from torch.optim import AdamW

from mnemic.training.config import TrainConfig

__all__ = ["build_optimizer", "learning_rate", "parameter_groups"]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Matrices, embeddings and convolutions decay; biases, norms, gates and other vectors do not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim >= 2]
    kept = [p for p in trained if p.ndim < 2]
    groups: list[dict[str, object]] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(model: nn.Module, config: TrainConfig) -> AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) in its fused form, which visits each parameter once."""
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in model.parameters())
    return AdamW(parameter_groups(model, config.weight_decay), lr=config.lr, betas=config.betas, fused=fused)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up to the peak, then half a cosine down to `final_lr` of it; `step` counts from 0.

    A function of the step alone, so that resuming needs no state of a scheduler.
    """
    warmup = min(config.warmup, config.steps // 10)
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, config.steps - warmup)
    return config.lr * (config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
