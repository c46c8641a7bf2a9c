"""What a store says when it is asked for what it does not hold, or to change what has changed meanwhile."""

from mnemic.errors import MnemicError, UsageError

__all__ = ["Conflict", "NotFound"]


class Conflict(MnemicError):
    """Somebody else has changed it since it was read."""


class NotFound(UsageError):
    """There is nothing of that id."""
