"""Mixers whose memory is a small network that learns while it reads: what they share around its rule."""

import math
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from transformers import initialization as init

from mnemic.modules.memory import LayerMemory, Step
from mnemic.modules.mixer import Mixer, MixerConfig, real_tokens
from mnemic.modules.norms import GatedRMSNorm
from mnemic.modules.short_convolution import ShortConvolution
from mnemic.modules.waiting_tokens import Slots, slots_of
from mnemic.ops.neural_memory.architectures import Norm, Perceptron
from mnemic.ops.neural_memory.core import Gates, Rule, Weights, neural_memory

__all__ = ["LearningMemory", "LearningMemoryConfig", "LearningMemoryMixer"]

LARGEST_WEIGHTS = 1e4  # root mean square, over which a memory has diverged
LOOK_EVERY = 64  # calls, on an accelerator
LENGTH_EPS = 1e-6
UNIT_FEATURES = 0.4  # the mean square of what an activation makes of N(0, 1), nearly


class LearningMemoryConfig(MixerConfig):
    heads: int | None = Field(
        None, ge=1, description="heads; None: as many as leave a head 64 channels, at least 2, and divide the width"
    )
    conv_size: int = Field(4, ge=0, description="taps of the short convolution on q, k and v; 0: none")
    chunk_size: int = Field(
        16, ge=1, description="tokens whose gradients are taken at the same weights; a choice that changes results"
    )
    depth: int = Field(2, ge=1, description="layers of the memory; 1: a matrix")
    expansion: float = Field(4.0, gt=0, description="hidden channels of the memory over those of a head")
    activation: Literal["silu", "gelu", "tanh"] = Field("silu", description="between the memory's layers")
    memory_init: Literal["unit", "normal"] = Field(
        "unit", description="first weights: unit features and an output of 0, or N(0, 1/inputs) everywhere"
    )
    residual: bool = Field(True, description="the memory adds its input to its output, where it has more than 1 layer")
    memory_norm: bool = Field(False, description="LayerNorm on the memory's output, where it has more than 1 layer")
    rate: float | None = Field(
        None, gt=0, lt=1, description="inner learning rate at the start of training; None: 2 / chunk_size, at most 0.5"
    )
    forget: float = Field(0.007, gt=0, lt=1, description="share of the old weights that a token lets go, at the start")
    fade: float = Field(0.88, gt=0, lt=1, description="share of past surprise that a token lets go, at the start")
    largest_error: float | None = Field(None, gt=0, description="cut an inner gradient's errors to this length")
    norm_eps: float = Field(1e-5, gt=0, description="epsilon of the output norm")
    checkpoint_chunks: int | None = Field(
        None, ge=1, description="run groups of so many chunks again in the backward pass, to save memory"
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> "LearningMemoryConfig":
        if self.width % self.resolved_heads:
            raise ValueError(f"heads {self.heads} must divide the width {self.width}")
        return self

    @property
    def resolved_heads(self) -> int:
        wanted = max(2, self.width // 64)
        return self.heads or next(heads for heads in range(wanted, 0, -1) if self.width % heads == 0)

    @property
    def resolved_rate(self) -> float:
        return self.rate or min(0.5, 2 / self.chunk_size)

    @property
    def unit_features(self) -> bool:
        """Whether the first weights are those of `memory_init=unit`."""
        return self.memory_init == "unit"

    def network(self) -> Perceptron:
        """What the memory of a head is."""
        deep, hidden = self.depth > 1, round(self.expansion * self.width / self.resolved_heads)
        return Perceptron(
            self.depth,
            self.expansion,
            self.activation,
            residual=self.residual and deep,
            norm=self.memory_norm and deep,
            hidden_scale=(UNIT_FEATURES * hidden) ** -0.5 if self.unit_features else 1.0,
        )


class LearningMemory(LayerMemory):
    """What one layer's memories are made of, and the tokens of the chunk that is not full yet.

    weights_l, momenta_l: [B, H, I, O] float32 of layer l, at the start of the chunk. waiting: [B, C-1, H, 2 D + G],
    keys, values and gates. held: [B], how many there are. conv: [B, J-1, channels], if there is a convolution.
    """

    def __init__(
        self, weights: Weights, momenta: Weights, waiting: Tensor, held: Tensor, conv: Tensor | None,
        first_weights: Callable[[], Weights],
    ) -> None:  # fmt: skip
        super().__init__()
        self.waiting, self.held, self.conv = waiting, held, conv
        self._first_weights = first_weights
        self.set_network(weights, momenta)

    def set_network(self, weights: Weights, momenta: Weights) -> None:
        for name, parts in (("weights", weights), ("momenta", momenta)):
            for layer, part in enumerate(parts):
                setattr(self, f"{name}_{layer}", part)
        self._layers = len(weights)
        self._has_momenta = bool(momenta)

    @property
    def weights(self) -> Weights:
        return tuple(getattr(self, f"weights_{layer}") for layer in range(self._layers))

    @property
    def momenta(self) -> Weights | None:
        return tuple(getattr(self, f"momenta_{layer}") for layer in range(self._layers)) if self._has_momenta else None

    def reset(self) -> None:
        super().reset()
        for weight, first in zip(self.weights, self._first_weights(), strict=True):
            weight.copy_(first.detach().to(weight.dtype).expand_as(weight))


class LearningMemoryMixer(Mixer):
    """x -> q, k, v -> short convolution and SiLU -> length 1 for q, k -> a network that learns -> norm, gate -> out.

    A subclass gives the rule. Gates are numbers per head and token, a linear map of x and a bias: for every layer of
    the memory its rate, what it forgets (1 - keep) where it does, and what of its momentum fades where it has one; and
    the threshold of a loss that has one.

    Legend: B batch, T time, H heads, D channels of a head, L layers of the memory, C tokens of a chunk, G numbers that
    gate one token in one head, I and O the sizes of one layer, J taps.
    Memory: 4 H sum(I O) bytes, twice that with momentum; 4 (C-1) H (2 D + G) bytes of tokens that wait for their chunk
    to fill, and 8 that count them; the convolution's last J-1 inputs.
    """

    config_class: ClassVar[type[MixerConfig]] = LearningMemoryConfig

    def __init__(self, config: Any, layer_index: int, rule: Rule, *, forgets: bool = True) -> None:
        super().__init__(config, layer_index)
        self.heads, self.rule = config.resolved_heads, rule
        self.head_width = config.width // self.heads
        self.gate_counts = {"rate": config.depth}
        self.gate_counts |= {"forget": config.depth} if forgets else {}
        self.gate_counts |= {"fade": config.depth} if rule.optimizer != "gd" else {}
        self.gate_counts |= {"threshold": 1} if rule.bias.has_threshold else {}
        self.gate_count = sum(self.gate_counts.values())
        width = config.width
        self.proj = nn.Linear(width, 4 * width, bias=False)
        self.conv = ShortConvolution(3 * width, config.conv_size) if config.conv_size else None
        self.gates = nn.Linear(width, self.heads * self.gate_count, bias=False)
        self.gate_bias = nn.Parameter(torch.empty(self.heads, self.gate_count))
        self.memory = nn.ParameterList(
            nn.Parameter(torch.empty(1, self.heads, *shape)) for shape in rule.memory.shapes(self.head_width)
        )
        self.memory_norm = nn.Parameter(torch.ones(self.heads, self.head_width)) if rule.memory.norm else None
        self.norm = GatedRMSNorm(self.head_width, config.norm_eps)
        self.out = nn.Linear(width, width, bias=False)
        self._warned, self._calls = False, 0
        self.init_own_parameters()

    @torch.no_grad()
    def init_own_parameters(self) -> None:
        config = self.config
        starts = {kind: _logit(share) for kind, share in (("forget", config.forget), ("fade", config.fade))}
        starts["rate"] = _logit(config.resolved_rate)
        if self.rule.bias.has_threshold:
            starts["threshold"] = math.log(math.expm1(config.delta))
        biases = [starts[kind] for kind, count in self.gate_counts.items() for _ in range(count)]
        init.copy_(self.gate_bias, torch.tensor(biases).expand_as(self.gate_bias))
        unit = config.unit_features
        for layer, weight in enumerate(self.memory):
            if unit and layer == len(self.memory) - 1:
                init.zeros_(weight)
            else:
                init.normal_(weight, 0.0, 1.0 if unit else weight.shape[-2] ** -0.5)
        if self.memory_norm is not None:
            init.ones_(self.memory_norm)

    def new_memory(self, batch_size: int, *, device: torch.device, dtype: torch.dtype) -> LearningMemory:
        wide = torch.promote_types(dtype, torch.float32)
        weights = tuple(w.to(device, wide).repeat(batch_size, 1, 1, 1) for w in self.memory)
        momenta = tuple(torch.zeros_like(w) for w in weights) if self.rule.optimizer != "gd" else ()
        waiting = torch.zeros(
            batch_size, self.config.chunk_size - 1, self.heads, 2 * self.head_width + self.gate_count,
            device=device, dtype=wide,
        )  # fmt: skip
        held = torch.zeros(batch_size, dtype=torch.int64, device=device)
        conv = self.conv.new_state(batch_size, device=device, dtype=dtype) if self.conv is not None else None
        return LearningMemory(weights, momenta, waiting, held, conv, lambda: tuple(self.memory))

    def memory_bytes(self, length: int, dtype: torch.dtype = torch.float32) -> int:
        wide = torch.promote_types(dtype, torch.float32).itemsize
        network = sum(w.numel() for w in self.memory) * (1 if self.rule.optimizer == "gd" else 2)
        waiting = (self.config.chunk_size - 1) * self.heads * (2 * self.head_width + self.gate_count)
        conv = self.conv.state_bytes(dtype) if self.conv is not None else 0
        return wide * (network + waiting) + 8 + conv

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """x: [B, T, width] -> [B, T, width]."""
        memory, real = step.memory, real_tokens(step, x.shape[1])
        assert memory is None or isinstance(memory, LearningMemory)
        width = self.config.width
        mixed, gate = self.proj(x).split([3 * width, width], dim=-1)
        if self.conv is not None:
            mixed, conv = self.conv(mixed, memory.conv if memory else None, real)
        else:
            mixed, conv = F.silu(mixed), None
        wide = torch.promote_types(x.dtype, torch.float32)
        q, k, v = mixed.to(wide).unflatten(-1, (3, self.heads, self.head_width)).unbind(-3)
        q, k = _unit_length(q), _unit_length(k)
        token = torch.cat([k, v, self._token_gates(x, wide)], -1)
        if memory is None and real is None:
            y, after, _ = self._learn(q, token, None, None)
        else:
            y, after = self._learn_in_slots(q, token, real, memory, conv)
        if not torch.compiler.is_compiling():
            self._warn_where_it_diverges(after)
        y = self.norm(y.to(x.dtype), gate.unflatten(-1, (self.heads, self.head_width)))
        return self.out(y.flatten(-2))

    def _learn_in_slots(
        self, q: Tensor, token: Tensor, real: Tensor | None, memory: LearningMemory | None, conv: Tensor | None
    ) -> tuple[Tensor, Weights]:
        state = memory or self.new_memory(q.shape[0], device=q.device, dtype=q.dtype)
        slots = slots_of(state.held, q.shape[1], real, self.config.chunk_size)
        laid = slots.lay(state.waiting, token)
        queries = slots.lay(torch.zeros_like(state.waiting[..., : self.head_width]), q)
        y, weights, momenta = self._learn(queries, laid, state, slots)
        if memory is not None:
            memory.set_network(weights, momenta)
            memory.waiting, memory.held, memory.conv = slots.wait(laid), slots.still_waiting, conv
            memory.seen += q.shape[1]
        return slots.pick(y), weights

    def _learn(
        self, q: Tensor, token: Tensor, state: LearningMemory | None, slots: Slots | None
    ) -> tuple[Tensor, Weights, Weights]:
        """q: [B, S, H, D], token: [B, S, H, 2 D + G] -> y: [B, S, H, D], and the network after it."""
        k, v, raw = token.split([self.head_width, self.head_width, self.gate_count], -1)
        y, weights, momenta = neural_memory(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            self._gates(raw),
            state.weights if state else tuple(self.memory),
            state.momenta if state else None,
            rule=self.rule,
            norm=Norm(self.memory_norm),
            complete=slots.complete if slots else None,
            checkpoint_every=self.config.checkpoint_chunks,
        )
        return y.transpose(1, 2), weights, momenta

    def _token_gates(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """[B, T, H, G]: rates, and what is forgotten and fades; all 0 for a token that changes nothing."""
        raw = self.gates(x).to(dtype).unflatten(-1, (self.heads, self.gate_count)) + self.gate_bias.to(dtype)
        thresholds = self.gate_counts.get("threshold", 0)
        shares, threshold = raw.split([self.gate_count - thresholds, thresholds], -1)
        return torch.cat([shares.sigmoid(), F.softplus(threshold)], -1)

    def _gates(self, raw: Tensor) -> Gates:
        """[B, S, H, G] -> the gates of the rule."""
        parts = raw.permute(0, 2, 3, 1).split(list(self.gate_counts.values()), 2)
        by_kind = dict(zip(self.gate_counts, parts, strict=True))
        forget, fade, threshold = (by_kind.get(kind) for kind in ("forget", "fade", "threshold"))
        return Gates(
            by_kind["rate"],
            None if forget is None else 1 - forget,
            None if fade is None else 1 - fade,
            None if threshold is None else threshold[:, :, 0],
        )

    @torch.no_grad()
    def _warn_where_it_diverges(self, weights: Weights) -> None:
        self._calls += 1
        looks = not weights[0].is_cuda or self._calls % LOOK_EVERY == 0  # a look makes the host wait for the device
        if self._warned or weights[0].is_meta or not looks:
            return
        size = torch.stack([w.square().mean().sqrt() for w in weights]).max()
        if not size < LARGEST_WEIGHTS:
            self._warned = True
            warnings.warn(
                f"layer {self.layer_index}: the memory diverges, its weights' root mean square is {float(size):.3g}. "
                "A smaller inner rate, smaller chunks or largest_error keep it in bounds",
                stacklevel=2,
            )


def _unit_length(x: Tensor) -> Tensor:
    """[..., D], of length 1."""
    return x * (x.square().sum(-1, keepdim=True) + LENGTH_EPS).rsqrt()


def _logit(share: float) -> float:
    """What the sigmoid makes `share` of."""
    return math.log(share / (1 - share))
