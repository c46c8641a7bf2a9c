"""How often which size occurs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from statistics import fmean, median

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["RATIOS", "TOKENS", "Histogram"]

TOKENS = (0, 25, 50, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200)
RATIOS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6, 1.0)


class Histogram(BaseModel):
    """`counts[i]` values lie from `edges[i]` up to and without `edges[i + 1]`; the last bin is open."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    edges: tuple[float, ...] = Field(description="where bins begin")
    counts: tuple[int, ...] = Field(description="values in each bin")
    n: int = Field(description="values in all")
    min: float | None = Field(None, description="least value")
    median: float | None = Field(None, description="middle value")
    mean: float | None = Field(None, description="mean value")
    max: float | None = Field(None, description="largest value")

    @classmethod
    def of(cls, values: Sequence[float], edges: Sequence[float]) -> Histogram:
        """Count values of at least `edges[0]`."""
        counts = [0] * len(edges)
        for value in values:
            counts[bisect_right(edges, value) - 1] += 1
        if not values:
            return cls(edges=tuple(edges), counts=tuple(counts), n=0)
        return cls(
            edges=tuple(edges),
            counts=tuple(counts),
            n=len(values),
            min=min(values),
            median=median(values),
            mean=fmean(values),
            max=max(values),
        )

    def bars(self) -> str:
        """One character per bin, from empty to the fullest."""
        top = max(self.counts, default=0)
        return "".join(" ▁▂▃▄▅▆▇█"[-(-8 * count // top) if top else 0] for count in self.counts)
