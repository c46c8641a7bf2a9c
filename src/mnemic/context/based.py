"""Based: linear attention by a Taylor feature map, beside exact attention to the last few tokens.

Arora et al. 2024 (arXiv 2402.18668).
"""

from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from mnemic.context.sliding_window import SlidingWindow, SlidingWindowConfig
from mnemic.modules.joint_memory import JointMemory
from mnemic.modules.matrix_state import MatrixStateConfig
from mnemic.modules.memory import LayerMemory, Step
from mnemic.modules.mixer import MixerConfig
from mnemic.modules.normalised_state import NormalisedStateMixer
from mnemic.ops.feature_maps import taylor_features, taylor_width

__all__ = ["Based", "BasedConfig"]


class BasedConfig(MatrixStateConfig):
    heads: int = Field(4, ge=1, description="heads, of the linear attention and of the window")
    feature_width: int = Field(16, ge=1, description="channels of a query or key before the feature map")
    window: int = Field(16, ge=0, description="tokens seen exactly, the current one among them; 0: no window")
    conv_size: int = Field(
        0, ge=0, description="taps of the short convolution on the linear attention's q, k and v; 0: none"
    )

    @model_validator(mode="after")
    def _heads_fit(self) -> "BasedConfig":
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} does not split into {self.heads} heads of an even size; set heads")
        return self


class Based(NormalisedStateMixer):
    """y = taylor(u) + window(u), with projections of their own.

    taylor: o_t = sum_{s<=t} p_s v_s / sum_{s<=t} p_s,  p_s = 1 + w + w^2 / 2,  w = q_t . k_s / sqrt(F);
    window: softmax attention to the last W tokens. In the paper the two stand in layers that take turns, which is
    `based:window=0+sliding-window`; here one layer holds both.

    Legend: B batch, T time, H heads, F feature width, P = 1 + F + F (F + 1) / 2 features, V value width, W window.
    Memory: 4 H P (V + 1) bytes, and 2 min(T, W) width values with their positions, per sequence.
    """

    config_class: ClassVar[type[MixerConfig]] = BasedConfig

    def __init__(self, config: BasedConfig, layer_index: int) -> None:
        super().__init__(
            config, layer_index, heads=config.heads, key_width=config.feature_width,
            value_width=config.width // config.heads, features=taylor_width(config.feature_width),
            normalises=True, eps=1e-12,
        )  # fmt: skip
        self.window: SlidingWindow | None = None
        if config.window:
            exact = SlidingWindowConfig(width=config.width, heads=config.heads, window=config.window)
            self.window = SlidingWindow(exact, layer_index)

    def features_of(self, q: Tensor, k: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        return taylor_features(q), taylor_features(k)

    def new_memory(self, batch_size: int, *, device: torch.device, dtype: torch.dtype) -> JointMemory:
        parts: dict[str, LayerMemory] = {"taylor": super().new_memory(batch_size, device=device, dtype=dtype)}
        if self.window is not None:
            parts["window"] = self.window.new_memory(batch_size, device=device, dtype=dtype)
        return JointMemory(**parts)

    def memory_bytes(self, length: int, dtype: torch.dtype = torch.float32) -> int:
        exact = self.window.memory_bytes(length, dtype) if self.window is not None else 0
        return super().memory_bytes(length, dtype) + exact

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """x: [B, T, width] -> [B, T, width]."""
        memory = step.memory
        assert memory is None or isinstance(memory, JointMemory)
        y = super().forward(x, replace(step, memory=memory and memory.parts["taylor"]))
        if self.window is not None:
            y = y + self.window(x, replace(step, memory=memory and memory.parts["window"]))
        if memory is not None:
            memory.seen += x.shape[1]
        return y
