"""What may be spent on calls: set aside before each, put right after it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from mnemic.errors import UsageError
from mnemic.llm.errors import BudgetExhausted
from mnemic.llm.protocol import Usage

__all__ = ["Budget", "Limits", "Price", "Reservation"]


class Price(BaseModel):
    """What a model costs per million tokens, in whatever currency max_cost is in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: float = Field(ge=0, description="per million tokens of prompts")
    completion: float = Field(ge=0, description="per million tokens of replies")

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


class Limits(BaseModel):
    """How much may be spent by one client. What is not limited is None."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_requests: int | None = Field(None, ge=0, description="answers that are paid for")
    max_prompt_tokens: int | None = Field(None, ge=0, description="tokens sent")
    max_completion_tokens: int | None = Field(None, ge=0, description="tokens received")
    max_cost: float | None = Field(None, ge=0, description="cost by the price table")


class _Amounts(NamedTuple):
    max_requests: float = 0
    max_prompt_tokens: float = 0
    max_completion_tokens: float = 0
    max_cost: float = 0

    def plus(self, other: "_Amounts", sign: int = 1) -> "_Amounts":
        return _Amounts(*(a + sign * b for a, b in zip(self, other, strict=True)))


@dataclass
class Reservation:
    """What a call is expected to take; `settle` says what it took. Without that it is given back."""

    model: str
    expected: _Amounts
    taken: Usage | None = field(default=None)

    def settle(self, usage: Usage) -> None:
        self.taken = usage


class Budget:
    """Spending within limits, shared by all threads and, if given to several, by all clients.

    A call that does not fit is refused before it is made. One that does not fit only because others on the wire
    have set aside more than they may use waits for them, so that the limit is really reached and not just neared.

    Args:
        prices: by name of the model; needed for max_cost, and good for showing the cost without a limit.

    Attributes:
        spent: so far, by the names of the limits.
    """

    def __init__(
        self,
        *,
        max_requests: int | None = None,
        max_prompt_tokens: int | None = None,
        max_completion_tokens: int | None = None,
        max_cost: float | None = None,
        prices: Mapping[str, Price] | None = None,
    ) -> None:
        self.limits = Limits(
            max_requests=max_requests,
            max_prompt_tokens=max_prompt_tokens,
            max_completion_tokens=max_completion_tokens,
            max_cost=max_cost,
        )
        self.prices = dict(prices or {})
        self._spent = self._reserved = _Amounts()
        self._settled = Condition()

    @property
    def spent(self) -> dict[str, float]:
        with self._settled:
            return self._spent._asdict()

    def cost_of(self, model: str, usage: Usage) -> float | None:
        price = self.prices.get(model)
        return price.of(usage.prompt_tokens, usage.completion_tokens) if price is not None else None

    def require_price(self, model: str) -> None:
        """Raises UsageError when cost is limited and the model's price is not known."""
        if self.limits.max_cost is not None and model not in self.prices:
            known = ", ".join(sorted(self.prices)) or "none"
            raise UsageError(f"max_cost needs the price of model '{model}'; prices are given for: {known}")

    @contextmanager
    def reserved(self, model: str, prompt_tokens: int, completion_tokens: int) -> Iterator[Reservation]:
        """Set aside what a call is expected to take.

        Raises:
            BudgetExhausted: it does not fit, even once all calls on the wire have ended as expected.
        """
        held = Reservation(model, self._amounts(model, Usage(prompt_tokens, completion_tokens)))
        with self._settled:
            while (full := self._full(self._spent.plus(self._reserved).plus(held.expected))) is not None:
                hopeless = self._full(self._spent.plus(held.expected))
                if hopeless is not None:
                    raise BudgetExhausted(self._why(hopeless, held.expected))
                assert full is not None
                self._settled.wait()
            self._reserved = self._reserved.plus(held.expected)
        try:
            yield held
        finally:
            with self._settled:
                self._reserved = self._reserved.plus(held.expected, -1)
                if held.taken is not None:
                    self._spent = self._spent.plus(self._amounts(model, held.taken))
                self._settled.notify_all()

    def _amounts(self, model: str, usage: Usage) -> _Amounts:
        cost = self.cost_of(model, usage) or 0.0
        return _Amounts(1, usage.prompt_tokens, usage.completion_tokens, cost)

    def _full(self, amounts: _Amounts) -> str | None:
        """The first limit that `amounts` go beyond."""
        for name, amount in amounts._asdict().items():
            limit = getattr(self.limits, name)
            # Sums of many small costs must not pass a limit by a rounding error.
            if limit is not None and amount > limit + (1e-9 * limit if name == "max_cost" else 0):
                return name
        return None

    def _why(self, name: str, expected: _Amounts) -> str:
        limit, spent, needed = (
            getattr(self.limits, name), getattr(self._spent, name), getattr(expected, name)
        )  # fmt: skip
        return (
            f"the budget is used up: {name} is {limit:g}, {spent:g} are spent and the next call needs about "
            f"{needed:g}; what was paid for is kept, so raise {name} and run it again"
        )
