"""How a call to a language model fails, and what that means for the calls after it."""

from typing import ClassVar

from mnemic.errors import MnemicError

__all__ = [
    "BadReply", "BudgetExhausted", "CacheFailed", "CircuitOpen", "EndpointFailed", "EndpointRefused",
    "EndpointUnavailable", "LLMError", "Stopped",
]  # fmt: skip


class LLMError(MnemicError):
    """A completion could not be had.

    Attributes:
        fatal: later calls would fare no better, so whoever makes many should stop.
        transient: nothing is wrong with this call; the same one may well succeed another time.
    """

    fatal: ClassVar[bool] = False
    transient: ClassVar[bool] = False


class BadReply(LLMError):
    """The model answered, was told what was wrong, and still did not answer as asked."""


class EndpointFailed(LLMError):
    """The endpoint did not answer this request."""


class EndpointUnavailable(EndpointFailed):
    """The endpoint was overloaded, broken or out of reach at every try."""

    transient = True


class EndpointRefused(EndpointFailed):
    """The endpoint will answer no request like this: wrong key, no permission, no such address or model."""

    fatal = True


class BudgetExhausted(LLMError):
    """The call would have gone beyond what may be spent; it was not made."""

    fatal = True


class CircuitOpen(LLMError):
    """Too many calls failed one after another; no more are made."""

    fatal = True
    transient = True


class CacheFailed(LLMError):
    """Replies cannot be kept, so paying for more of them would be waste."""

    fatal = True


class Stopped(LLMError):
    """The client was told to stop."""

    fatal = True
    transient = True
