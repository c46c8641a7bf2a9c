"""Which tokens of prompts a ReMamba compresses, and rows without those that it drops.

Legend: B rows, T tokens of a row, K tokens that are left of the longest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

__all__ = ["CompressedRows", "Prompts", "ReMambaConfig", "compressed_rows", "find_prompts"]

_ROUNDING = 1e-9  # 0.07 * 100 is 7.000000000000001


class ReMambaConfig(BaseModel):
    """What is compressed, how much of it is kept, and by which projections.

    Tokens are named by their ids. A prompt ends with the first of `prompt_end` behind the context, or with its row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rho: float = Field(0.25, gt=0, le=1, description="share of the range that is kept")
    start: float = Field(0.0, ge=0, lt=1, description="where the range starts, as a share of the context")
    end: float = Field(1.0, gt=0, le=1, description="where it ends")
    context_end: tuple[int, ...] = Field((), description="tokens that follow a context; none: shares are of the prompt")
    prompt_end: tuple[tuple[int, ...], ...] = Field((), description="what may end a prompt; none: its row does")
    hidden: int | None = Field(None, ge=1, description="inner width of the projections; None: the model's width")
    adaptation: bool = Field(True, description="let a kept token's score scale its steps")

    @model_validator(mode="after")
    def _is_a_range(self) -> "ReMambaConfig":
        if self.start >= self.end:
            raise ValueError(f"start={self.start:g} must be before end={self.end:g}")
        return self


@dataclass(frozen=True)
class Prompts:
    """
    Attributes:
        range: [B, T] of bool, tokens that are compressed.
        keep: [B], how many of them are kept.
        last: [B], where the prompt's last token stands.
    """

    range: Tensor
    keep: Tensor
    last: Tensor


@dataclass(frozen=True)
class CompressedRows:
    """
    Attributes:
        index: [B, K], where in its row each token stood; anything that was dropped behind the row's end.
        present: [B, K] of bool, False behind the row's end.
        compressed: [B, K] of bool, tokens of the range that were kept.
    """

    index: Tensor
    present: Tensor
    compressed: Tensor

    def of(self, values: Tensor) -> Tensor:
        """[B, T, ...] -> [B, K, ...]; of T only what was read, all else is never looked at."""
        index = self.index.clamp(max=values.shape[1] - 1)
        index = index.reshape(*index.shape, *[1] * (values.ndim - 2)).expand(-1, -1, *values.shape[2:])
        return values.gather(1, index)

    def back(self, values: Tensor, time: int) -> Tensor:
        """[B, K, C] -> [B, T, C], zero where a token was dropped or is padding."""
        index = self.index[..., None].expand_as(values)
        rows = values.new_zeros(values.shape[0], time, values.shape[2])
        return rows.scatter(1, index, values * self.present[..., None].to(values.dtype))


def find_prompts(ids: Tensor, real: Tensor, config: ReMambaConfig) -> Prompts:
    """ids: [B, T]; real: [B, T] of bool, False on padding at either end."""
    place = real.to(torch.int64).cumsum(1) - 1
    row_end = torch.where(real, torch.arange(ids.shape[1], device=ids.device), -1).amax(1)
    if config.context_end:
        found, at = _first(_ends(ids, config.context_end) & real, place)
        context = torch.where(found, at - len(config.context_end) + 1, 0)
        behind = found[:, None] & (place > at[:, None])
    else:
        context, behind = None, real
    last = row_end
    if config.prompt_end:
        ends = torch.stack([_ends(ids, one) for one in config.prompt_end]).any(0) & behind & real
        found = ends.any(1)
        last = torch.where(found, ends.to(torch.int8).argmax(1), row_end)
    prompt = place.gather(1, last[:, None])[:, 0] + 1
    length = prompt if context is None else context
    low = (config.start * length + _ROUNDING).floor()
    high = low + ((config.end - config.start) * length - _ROUNDING).ceil()
    high = torch.minimum(high, prompt - 1)  # the prompt's last token is what the others are compared with
    inside = real & (place >= low[:, None]) & (place < high[:, None])
    return Prompts(inside, (config.rho * inside.sum(1) - _ROUNDING).ceil(), last)


def compressed_rows(prompts: Prompts, real: Tensor, scores: Tensor) -> CompressedRows:
    """Rows in which only the best of each range are left, in their order, padding on the right.

    Args:
        real: [B, T] of bool.
        scores: [B, T]; of equals the earlier is kept.
    """
    ranked = scores.detach().masked_fill(~prompts.range, -torch.inf).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(ranked).scatter(
        1, ranked, torch.arange(ranked.shape[1], device=ranked.device).expand_as(ranked)
    )
    kept = prompts.range & (rank < prompts.keep[:, None])
    alive = real & (kept | ~prompts.range)
    counts = alive.sum(1)
    index = (~alive).to(torch.int8).argsort(dim=1, stable=True)[:, : int(counts.max())]
    present = torch.arange(index.shape[1], device=index.device) < counts[:, None]
    return CompressedRows(index, present, kept.gather(1, index) & present)


def _ends(ids: Tensor, sequence: Sequence[int]) -> Tensor:
    """[B, T] of bool: where a sequence of tokens ends."""
    ends = torch.ones_like(ids, dtype=torch.bool)
    for back, token in enumerate(reversed(sequence)):
        ends[:, :back] = False
        ends[:, back:] &= ids[:, : ids.shape[1] - back] == token
    return ends


def _first(hits: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """[B] whether there is a hit, and [B] the place of the first."""
    return hits.any(1), place.gather(1, hits.to(torch.int8).argmax(1, keepdim=True))[:, 0]
