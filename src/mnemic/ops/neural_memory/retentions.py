"""Retention: what becomes of the old weights, beyond the share that a token keeps (arXiv 2504.13173).

A retention holds a dual state A, in which the inner optimiser moves in straight lines, and makes the weights from it at
the start of every chunk. Where that map is not linear, tokens read the weights of their chunk's start: what a chunk
writes is read by the chunks after it.

Legend: M batch times heads, I inputs and O outputs of one layer; a state is [M, I, O], every one of it on its own.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

__all__ = ["RETENTIONS", "ElasticNet", "Identity", "KL", "LqMirror", "LqPaper", "Retention"]

LEAST_LOG_WEIGHT = -30.0


class Retention(Protocol):
    linear: ClassVar[bool]

    def weights(self, dual: Tensor) -> Tensor:
        """The weights of a chunk's start."""

    def scale(self, dual: Tensor) -> Tensor | None:
        """[M, 1, 1], for linear maps: inside the chunk the weights are the dual state times this. None for 1."""

    def settle(self, dual: Tensor) -> Tensor:
        """The dual state that the next chunk starts from."""


@dataclass(frozen=True)
class Identity:
    """The state is the weights: no retention beyond the keep gate, or L2 with it."""

    linear: ClassVar[bool] = True

    def weights(self, dual: Tensor) -> Tensor:
        return dual

    def scale(self, dual: Tensor) -> Tensor | None:
        return None

    def settle(self, dual: Tensor) -> Tensor:
        return dual


@dataclass(frozen=True)
class LqPaper:
    """W = A / |A|_q^(q-2), as Moneta prints it. Of degree 3 - q in A: at q = 4 a small state gives large weights.

    The norm of a head's matrix is held above `least`.
    """

    linear: ClassVar[bool] = True
    power: float = 4.0
    least: float = 1e-3

    def weights(self, dual: Tensor) -> Tensor:
        return dual * self.scale(dual)

    def scale(self, dual: Tensor) -> Tensor:
        norm = _norm(dual, self.power).clamp(min=self.least)
        return norm.pow(2.0 - self.power)

    def settle(self, dual: Tensor) -> Tensor:
        return dual


@dataclass(frozen=True)
class LqMirror:
    """W = sgn(A) |A|^(p-1) / |A|_p^(p-2): the mirror map of |W|_q^2 / (2 (q - 1)) with 1/p + 1/q = 1, of degree 1.

    Attributes:
        power: p >= 2; 2 is the identity.
    """

    linear: ClassVar[bool] = False
    power: float = 4.0

    def weights(self, dual: Tensor) -> Tensor:
        norm = _norm(dual, self.power).clamp(min=torch.finfo(dual.dtype).tiny ** 0.25)
        return dual * (dual / norm).abs().pow(self.power - 2)

    def scale(self, dual: Tensor) -> None:
        return None

    def settle(self, dual: Tensor) -> Tensor:
        return dual


@dataclass(frozen=True)
class KL:
    """W = c softmax(A) over the inputs of every output, A being log W: weights on a scaled simplex (Memora).

    Attributes:
        total: c; None for sqrt(I).
    """

    linear: ClassVar[bool] = False
    total: float | None = None

    def weights(self, dual: Tensor) -> Tensor:
        total = dual.shape[-2] ** 0.5 if self.total is None else self.total
        return total * dual.softmax(-2)

    def scale(self, dual: Tensor) -> None:
        return None

    def settle(self, dual: Tensor) -> Tensor:
        return dual.log_softmax(-2).clamp(min=LEAST_LOG_WEIGHT)


@dataclass(frozen=True)
class ElasticNet:
    """W = soft_gamma(A): weights below the threshold are exactly 0.

    Attributes:
        threshold: gamma, per chunk.
        follow_the_leader: A is kept as it is, so that a weight can come back; else the thresholded weights go on.
    """

    linear: ClassVar[bool] = False
    threshold: float = 1e-3
    follow_the_leader: bool = False

    def weights(self, dual: Tensor) -> Tensor:
        return dual.sign() * (dual.abs() - self.threshold).clamp(min=0) if self.follow_the_leader else dual

    def scale(self, dual: Tensor) -> None:
        return None

    def settle(self, dual: Tensor) -> Tensor:
        return dual if self.follow_the_leader else dual.sign() * (dual.abs() - self.threshold).clamp(min=0)


RETENTIONS: dict[str, Retention] = {
    "l2": Identity(),
    "lq": LqMirror(),
    "lq-paper": LqPaper(),
    "kl": KL(),
    "elastic-net": ElasticNet(),
}


def _norm(dual: Tensor, power: float) -> Tensor:
    """[M, I, O] -> [M, 1, 1], without overflow and with a finite derivative at 0."""
    largest = dual.detach().abs().amax((-2, -1), keepdim=True).clamp(min=torch.finfo(dual.dtype).tiny)
    return largest * ((dual / largest).abs().pow(power).sum((-2, -1), keepdim=True)).pow(1.0 / power)
