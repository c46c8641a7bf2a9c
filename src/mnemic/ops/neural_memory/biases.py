"""Attentional biases: the loss by which a memory learns what it is told (Behrouz et al. 2025, arXiv 2504.13173).

Each has a `value`, and an `error`, its derivative by the prediction. r stands for prediction minus target.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

__all__ = ["BIASES", "AttentionalBias", "Dot", "Huber", "L1", "L2", "Lp", "RobustShift"]

TINY = 1e-6  # under a root whose derivative would be infinite at 0


class AttentionalBias(Protocol):
    """`threshold` is a number per token, [..., T, 1], for the losses that have one."""

    has_threshold: ClassVar[bool]

    def value(self, prediction: Tensor, target: Tensor, threshold: Tensor | None = None) -> Tensor:
        """[..., T, D] twice -> [..., T]."""

    def error(self, prediction: Tensor, target: Tensor, threshold: Tensor | None = None) -> Tensor:
        """[..., T, D] twice -> [..., T, D], the derivative of `value` by the prediction."""


@dataclass(frozen=True)
class Dot:
    """-<prediction, target>: writes whatever stood there before (Hebbian)."""

    has_threshold: ClassVar[bool] = False

    def value(self, prediction: Tensor, target: Tensor, threshold: Tensor | None = None) -> Tensor:
        return -(prediction * target).sum(-1)

    def error(self, prediction: Tensor, target: Tensor, threshold: Tensor | None = None) -> Tensor:
        return -target


@dataclass(frozen=True)
class L2:
    """|r|^2 / 2: writes what is missing."""

    has_threshold: ClassVar[bool] = False

    def value(self, prediction: Tensor, target: Tensor, threshold: Tensor | None = None) -> Tensor:
        return 0.5 * (prediction - target).square().sum(-1)

    def error(self, prediction: Tensor, target: Tensor, threshold: Tensor | None = None) -> Tensor:
        return prediction - target


@dataclass(frozen=True)
class L1:
    """sum |r_j|: every coordinate moves by the same amount ("value-less")."""

    has_threshold: ClassVar[bool] = False

    def value(self, prediction: Tensor, target: Tensor, threshold: Tensor | None = None) -> Tensor:
        return (prediction - target).abs().sum(-1)

    def error(self, prediction: Tensor, target: Tensor, threshold: Tensor | None = None) -> Tensor:
        return (prediction - target).sign()


@dataclass(frozen=True)
class Lp:
    """sum |r_j|^p, p > 1.

    Attributes:
        power: p.
        sharpness: a of tanh(a r), which stands for the sign of r, |r| being sqrt(r^2 + 1e-6) then; None for the exact
            derivative. The smooth form is what Moneta trains with.
    """

    has_threshold: ClassVar[bool] = False
    power: float = 3.0
    sharpness: float | None = 10.0

    def value(self, prediction: Tensor, target: Tensor, threshold: Tensor | None = None) -> Tensor:
        return (prediction - target).abs().pow(self.power).sum(-1)

    def error(self, prediction: Tensor, target: Tensor, threshold: Tensor | None = None) -> Tensor:
        r = prediction - target
        if self.sharpness is None:
            return self.power * r.sign() * r.abs().pow(self.power - 1)
        return self.power * (self.sharpness * r).tanh() * (r.square() + TINY).pow((self.power - 1) / 2)


@dataclass(frozen=True)
class Huber:
    """|r|^2 / 2 up to a threshold, linear beyond it: an outlier pulls no harder than what lies at the threshold.

    Attributes:
        form: "norm" measures |r|, "coordinate" every r_j; "switch" is Yaad's printed rule, |r|^2 / 2 inside and the
            threshold times the sum of |r_j| outside, whose derivative jumps.
        delta: the threshold where none is given per token.
    """

    has_threshold: ClassVar[bool] = True
    form: str = "norm"
    delta: float = 1.0

    def value(self, prediction: Tensor, target: Tensor, threshold: Tensor | None = None) -> Tensor:
        r = prediction - target
        bound = r.new_tensor(self.delta) if threshold is None else threshold
        if self.form == "coordinate":
            size = r.abs()
            return torch.where(size <= bound, 0.5 * size.square(), bound * (size - 0.5 * bound)).sum(-1)
        size = r.norm(dim=-1, keepdim=True)
        far = bound * (size - 0.5 * bound) if self.form == "norm" else bound * r.abs().sum(-1, keepdim=True)
        return torch.where(size <= bound, 0.5 * size.square(), far).squeeze(-1)

    def error(self, prediction: Tensor, target: Tensor, threshold: Tensor | None = None) -> Tensor:
        r = prediction - target
        bound = r.new_tensor(self.delta) if threshold is None else threshold
        if self.form == "coordinate":
            return torch.maximum(torch.minimum(r, bound), -bound)
        square = r.square().sum(-1, keepdim=True)
        far = r * (bound * square.clamp(min=TINY).rsqrt()) if self.form == "norm" else bound * r.sign()
        return torch.where(square <= bound.square(), r, far)


@dataclass(frozen=True)
class RobustShift:
    """The worst |r - dv|^2 / 2 over all shifts |dv| <= delta of the target: |r|^2 / 2 + delta |r| + delta^2 / 2."""

    has_threshold: ClassVar[bool] = True
    delta: float = 0.1

    def value(self, prediction: Tensor, target: Tensor, threshold: Tensor | None = None) -> Tensor:
        r = prediction - target
        bound = r.new_tensor(self.delta) if threshold is None else threshold.squeeze(-1)
        return 0.5 * (r.norm(dim=-1) + bound).square()

    def error(self, prediction: Tensor, target: Tensor, threshold: Tensor | None = None) -> Tensor:
        r = prediction - target
        bound = r.new_tensor(self.delta) if threshold is None else threshold
        return r + bound * r * r.square().sum(-1, keepdim=True).clamp(min=TINY**2).rsqrt()


BIASES: dict[str, AttentionalBias] = {
    "dot": Dot(),
    "l2": L2(),
    "l1": L1(),
    "lp": Lp(),
    "huber": Huber(),
    "huber-coordinate": Huber("coordinate"),
    "huber-switch": Huber("switch"),
    "robust": RobustShift(),
}
