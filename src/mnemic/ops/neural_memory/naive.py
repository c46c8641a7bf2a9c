"""The test-time memory one token at a time, its gradients by autograd: the definition, and the oracle of `core.py`."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from mnemic.ops.neural_memory.architectures import Norm
from mnemic.ops.neural_memory.core import Gates, Rule, Weights, check_rule
from mnemic.ops.newton_schulz import newton_schulz

__all__ = ["neural_memory_naive"]


def neural_memory_naive(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, weights: Sequence[Tensor], momenta: Sequence[Tensor] | None = None,
    *, rule: Rule, norm: Norm | None = None,
) -> tuple[Tensor, Weights, Weights]:  # fmt: skip
    """As :func:`mnemic.ops.neural_memory.core.neural_memory`, in as many steps as there are tokens.

    Raises:
        ValueError: errors that are cut: autograd gives gradients, in which a layer's errors are not apart.
    """
    check_rule(rule)
    if rule.largest_error is not None:
        raise ValueError("largest_error cuts the errors of a layer, which the token-by-token form never sees")
    batch, _, time, _ = q.shape
    layers = range(rule.memory.depth)
    parts = (norm.weight, norm.bias) if norm else (None, None)
    by_head = Norm(*(None if p is None else p[None, :, None] for p in parts))
    duals = [w.expand(batch, *w.shape[1:]) for w in weights]
    speeds = [torch.zeros_like(d) for d in duals] if momenta is None else list(momenta)
    outputs = []

    def predict(parameters: Sequence[Tensor], x: Tensor) -> Tensor:
        return rule.memory.read(x, lambda layer, z: z @ parameters[layer], by_head)

    for start in range(0, time, rule.chunk_size):
        first = duals
        anchor = [rule.retention.weights(dual) for dual in duals]
        scales = [_scale(rule, dual) for dual in duals]
        written = [torch.zeros_like(dual) for dual in duals]
        decay: list[Tensor | float] = [1.0] * len(layers)
        for t in range(start, min(start + rule.chunk_size, time)):
            keeps = [_gate(gates.keep, i, t, 1.0) for i in layers]
            if rule.predicts_with == "decayed":
                decay = [decay[i] * keeps[i] for i in layers]
            at = [anchor[i] * decay[i] for i in layers]
            threshold = None if gates.threshold is None else gates.threshold[:, :, t, None, None]
            prediction, back, *_ = torch.func.vjp(partial(_predicted, predict, k[:, :, t, None]), *at)
            slopes = back(rule.bias.error(prediction, v[:, :, t, None], threshold))
            before = duals
            steps = [-_gate(gates.rate, i, t, 0.0) * slopes[i] for i in layers]
            if rule.optimizer != "gd":
                speeds = [_gate(gates.momentum, i, t, 0.0) * speeds[i] + steps[i] for i in layers]
                steps = speeds
            if gates.position_rate is not None:
                written = [written[i] + steps[i] for i in layers]
                duals = [first[i] + gates.position_rate[t - start] * written[i] for i in layers]
            elif rule.optimizer == "muon":
                duals = [keeps[i] * duals[i] for i in layers]
            else:
                duals = [keeps[i] * duals[i] + steps[i] for i in layers]
            seen = before if rule.reads == "before" else duals
            follows = rule.retention.linear and rule.optimizer != "muon"
            outputs.append(predict([scales[i] * seen[i] for i in layers] if follows else anchor, q[:, :, t, None]))
        if rule.optimizer == "muon":
            total = [sum(_gate(gates.rate, i, s, 0.0) for s in range(start, t + 1)) for i in layers]
            duals = [duals[i] + total[i] * newton_schulz(speeds[i], dtype=speeds[i].dtype) for i in layers]
        duals = [rule.retention.settle(dual) for dual in duals]
    return torch.cat(outputs, 2), tuple(duals), tuple(speeds) if rule.optimizer != "gd" else ()


def _predicted(predict: Callable[[Sequence[Tensor], Tensor], Tensor], key: Tensor, *weights: Tensor) -> Tensor:
    return predict(weights, key)


def _gate(x: Tensor | None, layer: int, t: int, otherwise: float) -> Tensor | float:
    """[B, H, 1, 1], or [B, H, I, 1] where inputs fade apart."""
    if x is None:
        return otherwise
    x = x[:, :, min(layer, x.shape[2] - 1), t]
    return x[..., None, None] if x.ndim == 2 else x[..., None]


def _scale(rule: Rule, dual: Tensor) -> Tensor | float:
    scale = rule.retention.scale(dual.flatten(0, 1))
    return 1.0 if scale is None else scale.unflatten(0, dual.shape[:2])
