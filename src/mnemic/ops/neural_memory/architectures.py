"""What a test-time memory is made of: a linear map, or a small network with a residual around it and a norm.

    M(x) = [x +] [LN] (sigma(... sigma(x W_1) ... ) W_L)

(Behrouz et al. 2025, arXiv 2501.00663, in its camera-ready version; Sun et al. 2024, arXiv 2407.04620, whose target
v - k for f(k) is the target v for k + f(k).) The gradient of a token by W_l is the outer product of the layer's input
x_l and an error delta_l that is carried back by hand, so that no weight is ever made per token.

Legend: M batch times heads, C tokens, D channels of keys and values, I inputs and O outputs of one layer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from mnemic.ops.neural_memory.biases import AttentionalBias

__all__ = ["ACTIVATIONS", "Norm", "Perceptron"]

NORM_EPS = 1e-6

Layer = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True)
class Norm:
    """LayerNorm's outer parameters, per head: weight and bias [M, 1, D]; None for 1 and for 0."""

    weight: Tensor | None = None
    bias: Tensor | None = None


@dataclass(frozen=True)
class Perceptron:
    """
    Attributes:
        depth: layers; 1 is a linear memory.
        expansion: hidden channels over D.
        activation: between layers, one of ACTIVATIONS.
        residual: add the input to the output.
        norm: LayerNorm on the last layer's output.
        bias: layers have biases, held as the weights of one more input that is always 1.
        hidden_scale: multiplies what the activation returns.
    """

    depth: int = 2
    expansion: float = 4.0
    activation: str = "gelu"
    residual: bool = True
    norm: bool = True
    bias: bool = False
    hidden_scale: float = 1.0
    _slope: Callable[[Tensor], tuple[Tensor, Tensor]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise ValueError(f"depth is {self.depth}; a memory has at least 1 layer")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation '{self.activation}' is none of {', '.join(ACTIVATIONS)}")
        object.__setattr__(self, "_slope", ACTIVATIONS[self.activation])

    def shapes(self, width: int) -> list[tuple[int, int]]:
        """(I, O) of every layer, for keys and values of `width` channels."""
        hidden = round(self.expansion * width)
        sizes = [width, *[hidden] * (self.depth - 1), width]
        return [(inputs + self.bias, outputs) for inputs, outputs in pairwise(sizes)]

    def errors(
        self, keys: Tensor, targets: Tensor, weights: Sequence[Tensor], bias: AttentionalBias, norm: Norm,
        threshold: Tensor | None = None, faded: Sequence[Tensor | None] | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
        """What the tokens of a chunk have to say to every layer: the gradient of token i by W_l is x_l,i^T delta_l,i.

        Args:
            keys, targets: [M, C, D].
            weights: [M, I, O] of every layer, as the chunk finds them.
            threshold: [M, C, 1] for the bias.
            faded: [M, C, 1 or I] of every layer, what each token's prediction has left of the weights; None for 1.

        Returns:
            x [M, C, I] and delta [M, C, O] of every layer.
        """
        left = faded or [None] * self.depth
        x, inputs, slopes = keys, [], []
        for layer, weight in enumerate(weights):
            inputs.append(self._with_one(x))
            z = _times(inputs[-1], left[layer]) @ weight
            if layer < self.depth - 1:
                x, slope = self._slope(z)
                x, slope = (x, slope) if self.hidden_scale == 1 else (x * self.hidden_scale, slope * self.hidden_scale)
                slopes.append(slope)
        delta = self._error_of_output(z, keys, targets, bias, norm, threshold)
        deltas = [delta]
        for layer in reversed(range(1, self.depth)):
            backwards = weights[layer][:, :-1] if self.bias else weights[layer]
            delta = _times(delta @ backwards.mT, left[layer]) * slopes[layer - 1]
            deltas.append(delta)
        return inputs, deltas[::-1]

    def read(self, queries: Tensor, layer: Layer, norm: Norm) -> Tensor:
        """[M, C, D] -> [M, C, D]; `layer(l, x)` multiplies x by what W_l is at each of the tokens."""
        x = queries
        for index in range(self.depth):
            z = layer(index, self._with_one(x))
            if index < self.depth - 1:
                x = _VALUES[self.activation](z)
                x = x if self.hidden_scale == 1 else x * self.hidden_scale
        if self.norm:
            z = _affine(F.layer_norm(z, z.shape[-1:], eps=NORM_EPS), norm)
        return queries + z if self.residual else z

    def _error_of_output(
        self, z: Tensor, keys: Tensor, targets: Tensor, bias: AttentionalBias, norm: Norm, threshold: Tensor | None
    ) -> Tensor:
        if not self.norm:
            return bias.error(keys + z if self.residual else z, targets, threshold)
        mean = z.mean(-1, keepdim=True)
        centred = z - mean
        rate = (centred.square().mean(-1, keepdim=True) + NORM_EPS).rsqrt()
        normed = centred * rate
        prediction = _affine(normed, norm)
        error = bias.error(keys + prediction if self.residual else prediction, targets, threshold)
        error = error if norm.weight is None else error * norm.weight
        along = (error * normed).mean(-1, keepdim=True)
        return rate * (error - error.mean(-1, keepdim=True) - normed * along)

    def _with_one(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 1), value=1.0) if self.bias else x


def _affine(normed: Tensor, norm: Norm) -> Tensor:
    normed = normed if norm.weight is None else normed * norm.weight
    return normed if norm.bias is None else normed + norm.bias


def _times(x: Tensor, factor: Tensor | None) -> Tensor:
    return x if factor is None else x * factor


def _gelu(z: Tensor) -> tuple[Tensor, Tensor]:
    below = 0.5 * (1 + torch.erf(z * 0.5**0.5))
    density = (-0.5 * z.square()).exp() * (2 * torch.pi) ** -0.5
    return z * below, below + z * density


def _silu(z: Tensor) -> tuple[Tensor, Tensor]:
    gate = z.sigmoid()
    value = z * gate
    return value, gate * (1 + z - value)


def _tanh(z: Tensor) -> tuple[Tensor, Tensor]:
    value = z.tanh()
    return value, 1 - value.square()


# value and derivative
ACTIVATIONS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {"gelu": _gelu, "silu": _silu, "tanh": _tanh}
_VALUES: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "silu": F.silu, "tanh": torch.tanh}
