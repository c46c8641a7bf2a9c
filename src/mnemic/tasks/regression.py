"""In-context regression: points of a function that only this row has; what is its value at the next one?

Garg et al. 2022, arXiv 2208.01066. A row is read as tokens: coordinates are drawn from a grid, so that their tokens
tell them exactly, and values of the function are rounded to one. What is read at a question is the mean of the values
under the model's distribution over their tokens, and its squared error divided by d is the loss; 1 is what one gets
who always says 0. Closed-form answers from the same tokens are in `regression_baselines`.

Legend: B rows, d coordinates, n points, T = n (d + 1) tokens, V tokens.
"""

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mnemic.errors import UsageError
from mnemic.tasks.base import Examples, FloatArray, IntArray, Prompt, Split, TaskConfig
from mnemic.tasks.blocks import BlockTask
from mnemic.tasks.regression_baselines import BASELINES
from mnemic.tasks.regression_functions import DRAWN
from mnemic.tasks.sampling import block_generator
from mnemic.tasks.slices import asking

__all__ = ["InContextRegression"]

FIRST = 1
INPUT_STEP, INPUT_LEVELS = 0.25, 33  # from -4 to 4 standard deviations
TARGET_STEP, TARGET_LEVELS = 0.125, 81  # from -5 to 5, in units of sqrt(d)


class InContextRegression(BlockTask, frozen=True, extra="forbid"):
    """x y x y …: the d coordinates of a point, then the value of the row's function there; asked is every value.

    Args:
        function: y = w·x (linear); with all but 3 coordinates of w at 0 (sparse); w·(x²)/√3 (quadratic); a network
            with 100 ReLUs (relu); a decision tree of depth 4 (tree). All have variance d.
        dims: d.
        points: n.
        noise: standard deviation of what is added to the values, in units of √d.
    """

    name: ClassVar[str] = "in-context-regression"
    version: ClassVar[int] = 1

    function: Literal["linear", "sparse", "quadratic", "relu", "tree"] = "linear"
    dims: Annotated[int, Field(ge=1, le=256)] = 20
    points: Annotated[int, Field(ge=1, le=1024)] = 41
    noise: Annotated[float, Field(ge=0, le=10)] = 0.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.function == "sparse" and self.dims < 3:
            raise UsageError(f"dims={self.dims} must be at least 3 in function=sparse")
        return self

    @property
    def vocab_size(self) -> int:
        return FIRST + INPUT_LEVELS + TARGET_LEVELS

    @property
    def max_length(self) -> int:
        return self.points * (self.dims + 1)

    def label_values(self) -> FloatArray:
        """[V] the number that a token says as an answer, in units of √d; nan for those that are no values."""
        values = np.full(self.vocab_size, np.nan, np.float32)
        values[FIRST + INPUT_LEVELS :] = TARGET_STEP * (np.arange(TARGET_LEVELS) - TARGET_LEVELS // 2)
        return values

    def rows_of_block(self, identity: str, split: Split, block: int, rows: int) -> Examples:
        rng = block_generator(identity, block)
        shape = (rows, self.points, self.dims)
        middle = INPUT_LEVELS // 2
        x = np.clip(np.rint(rng.standard_normal(shape) / INPUT_STEP), -middle, middle).astype(np.int64)
        y = DRAWN[self.function](rng, _coordinates(x)) / math.sqrt(self.dims)
        y = y + self.noise * rng.standard_normal(y.shape)
        half = TARGET_LEVELS // 2
        level = np.clip(np.rint(y / TARGET_STEP), -half, half).astype(np.int64)
        answers = FIRST + INPUT_LEVELS + half + level
        input_ids = np.concatenate([FIRST + middle + x, answers[..., None]], axis=2).reshape(rows, -1)
        at = self.dims - 1 + (self.dims + 1) * np.arange(self.points)
        return asking(input_ids, at, answers, examples=np.arange(self.points))

    def numbers(self, input_ids: IntArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The points [B, n, d] that rows tell, and the values [B, n] in units of √d."""
        parts = input_ids.reshape(len(input_ids), self.points, self.dims + 1)
        x = _coordinates(parts[..., :-1] - FIRST - INPUT_LEVELS // 2)
        return x, self.label_values()[parts[..., -1]].astype(np.float64)

    def baselines(self, examples: Examples) -> Mapping[str, FloatArray]:
        """Name -> [B, n] what closed forms answer at every question, in units of √d; see `regression_baselines`."""
        x, y = self.numbers(examples.input_ids)
        scale = math.sqrt(self.dims)
        # what the rounding adds to the noise is the variance of a uniform error
        variance = (self.noise**2 + TARGET_STEP**2 / 12) * self.dims
        answer = {name: solve(x, y * scale, variance) / scale for name, solve in BASELINES.items()}
        return {name: values.astype(np.float32) for name, values in answer.items()}

    def render(self, examples: Examples) -> list[Prompt]:
        x, y = self.numbers(examples.input_ids)
        prompts = []
        for points, values in zip(x, y, strict=True):
            said = [f"({' '.join(f'{c:g}' for c in point)}) =?" for point in points]
            prompts.append(Prompt(" ".join(said), tuple(f"{value:g}" for value in values)))
        return prompts

    def loads(self) -> list[TaskConfig]:
        """Twice as many points."""
        return [self.replace(points=2 * self.points)] if 2 * self.points <= 1024 else []


def _coordinates(levels: IntArray) -> NDArray[np.float64]:
    return (INPUT_STEP * levels).astype(np.float64)
