"""What is left of a prompt on its way through the layers of a model. Legend as in decimation.py."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mnemic.errors import UsageError
from mnemic.modules.memory import Step
from mnemic.teaching.rwr.steps import NO_STEP, StepChange, change_steps

__all__ = ["DroppedTokens"]


class DroppedTokens:
    """Hooks that drop tokens in some layers, and tell those behind them where the others stand.

    Attributes:
        keep_at: by the index of a layer, how many of the tokens that reach it are kept.
        places: [B, P] during a call, which of its tokens are left; None for all.
    """

    def __init__(self, keep_at: Mapping[int, Callable[[int], int]], pooling: Literal["mean", "norm"]) -> None:
        self.keep_at, self.pooling = keep_at, pooling
        self.places: Tensor | None = None
        self._positions: Tensor | None = None
        self._chosen: Tensor | None = None

    def attach(self, base: Any, layers: list[nn.Module], stack: ExitStack) -> None:
        """Hook on to a model, until `stack` is closed."""
        handles = [base.base_model.register_forward_pre_hook(self._begin, with_kwargs=True)]
        for index, layer in enumerate(layers):
            handles.append(layer.register_forward_pre_hook(partial(self._enter, index)))
            if index in self.keep_at:
                handles += change_steps(layer, partial(self._choose, self.keep_at[index]))
                handles.append(layer.register_forward_hook(self._leave))
        for handle in handles:
            stack.callback(handle.remove)

    def _begin(self, body: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.places = self._chosen = None
        mask = inspect.signature(body.forward).bind_partial(*args, **kwargs).arguments.get("attention_mask")
        if mask is not None and not (isinstance(mask, Tensor) and mask.ndim == 2 and bool(mask.all())):
            raise UsageError(
                "attention_mask hides tokens, and padding would be weighed among those that may be kept; "
                "give rows of one length together, without a mask"
            )

    def _enter(self, index: int, layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """What the host tells a layer of its tokens is told of those that are left."""
        if len(args) < 2 or not isinstance(args[1], Step):
            return None
        x, step = args
        if not index:
            self._positions = step.query_positions(x).expand(x.shape[0], -1)
        assert self._positions is not None
        ids = step.input_ids
        if self.places is None:
            return x, replace(step, positions=self._positions)
        ids = None if ids is None else ids.gather(1, self.places)
        return x, replace(step, input_ids=ids, positions=self._positions.gather(1, self.places))

    def _choose(self, keep: Callable[[int], int], steps: Tensor) -> StepChange | None:
        batch, tokens, heads = steps.shape
        count = keep(tokens)
        if count >= tokens:
            return None
        weight = steps.mean(-1) if self.pooling == "mean" else steps.norm(dim=-1)
        weight[:, -1] = torch.inf
        # a first layer of Mamba-2 weighs the same id the same everywhere; of equals the earlier stay
        self._chosen = weight.argsort(dim=1, descending=True, stable=True)[:, :count].sort(dim=1).values
        gone = torch.ones(batch, tokens, device=steps.device).scatter(1, self._chosen, 0.0)
        return StepChange(gone, steps.new_full((heads,), NO_STEP))

    def _leave(self, layer: nn.Module, args: tuple[Any, ...], x: Tensor) -> Tensor | None:
        chosen, self._chosen = self._chosen, None
        if chosen is None:
            return None
        self.places = chosen if self.places is None else self.places.gather(1, chosen)
        return x.gather(1, chosen[..., None].expand(-1, -1, x.shape[2]))
