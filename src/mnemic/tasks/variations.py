"""Options that take several values: "32/64/128", "64@3/128@1" with weights, "16-64" for every whole number between."""

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import product

from pydantic import BaseModel

from mnemic.errors import UsageError
from mnemic.tasks.base import TaskConfig

__all__ = ["Variation", "is_varied", "read_variation", "variants_of"]

MOST = 1024
_NUMBER = r"\d+(?:\.\d+)?"
_LISTED = re.compile(rf"{_NUMBER}(?:@{_NUMBER})?(?:/{_NUMBER}(?:@{_NUMBER})?)+")
_RANGE = re.compile(r"(\d+)-(\d+)")


class Variation(BaseModel, frozen=True, extra="forbid"):
    """One option with the values it takes, and how often.

    Attributes:
        text: as the user wrote it.
        weights: as many as values; their scale means nothing.
    """

    option: str
    text: str
    values: tuple[int | float, ...]
    weights: tuple[float, ...]

    @property
    def is_range(self) -> bool:
        return _RANGE.fullmatch(self.text) is not None

    @property
    def slice_name(self) -> str:
        """Slices are whole numbers: what is none is told in percent."""
        return self.option if all(isinstance(value, int) for value in self.values) else f"{self.option}_percent"

    def slice_value(self, value: int | float) -> int:
        return int(value) if self.slice_name == self.option else round(100 * value)


def is_varied(text: str, takes_ranges: bool) -> bool:
    """Whether an option's text names several values; a range is the task's own affair where it takes ranges."""
    return bool(_LISTED.fullmatch(text) or (_RANGE.fullmatch(text) and not takes_ranges))


def read_variation(option: str, text: str) -> Variation:
    """One value alone is a variation too.

    Raises:
        UsageError: it is none.
    """
    if found := _RANGE.fullmatch(text):
        low, high = int(found[1]), int(found[2])
        if not low <= high < low + MOST:
            raise UsageError(f"{option}={text} must go from the smaller to the larger, over {MOST} numbers at most")
        return Variation(
            option=option, text=text, values=tuple(range(low, high + 1)), weights=(1.0,) * (high - low + 1)
        )
    parts = [part.partition("@") for part in text.split("/")]
    try:
        values = tuple(float(value) if "." in value else int(value) for value, _, _ in parts)
        weights = tuple(float(weight) if weight else 1.0 for _, _, weight in parts)
    except ValueError:
        raise UsageError(f"{option}={text} is no list of values such as 32/64/128 or 64@3/128@1, nor a range") from None
    if not min(weights) > 0:
        raise UsageError(f"{option}={text}: weights must be more than 0")
    return Variation(option=option, text=text, values=values, weights=weights)


@lru_cache(maxsize=64)
def variants_of(base: TaskConfig, variations: tuple[Variation, ...]) -> tuple[tuple[TaskConfig, float], ...]:
    """The tasks that all combinations make, each with its share; numbers of a range that a task refuses are left out.

    Raises:
        UsageError: a listed value is refused, or nothing is left, or there are too many.
    """
    found: list[tuple[TaskConfig, float]] = []
    refusal: UsageError | None = None
    ranged = any(variation.is_range for variation in variations)
    for combination in product(*(zip(v.values, v.weights, strict=True) for v in variations)):
        if len(found) > MOST:
            raise UsageError(f"{base.spec()}: more than {MOST} combinations of what varies")
        options: Mapping[str, int | float] = {
            v.option: value for v, (value, _) in zip(variations, combination, strict=True)
        }
        weight = 1.0
        for _, share in combination:
            weight *= share
        try:
            found.append((base.replace(**options), weight))
        except UsageError as wrong:
            if not ranged:
                raise
            refusal = wrong
    if not found:
        raise refusal or UsageError(f"{base.spec()}: nothing varies")
    total = sum(weight for _, weight in found)
    return tuple((task, weight / total) for task, weight in found)
