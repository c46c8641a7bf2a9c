"""Times as the store keeps them, UTC in microseconds since 1970, and identifiers that sort by them."""

import os
import time
from datetime import UTC, datetime
from uuid import UUID

from mnemic.errors import UsageError

__all__ = ["Time", "iso", "microseconds", "new_id", "now"]

Time = int | str | datetime | None
_LATEST = 253_402_300_799_999_999  # the end of the year 9999
_EARLIEST = -62_135_596_800_000_000


def now() -> int:
    return time.time_ns() // 1000


def microseconds(value: Time, name: str = "time") -> int | None:
    """A time as users give it: microseconds, a datetime or ISO 8601 text; without a zone it is UTC.

    Raises:
        UsageError: naming `name` and the value.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise UsageError(
                f"{name} '{value:.80}' is not a time; write it as 2024-05-31 or 2024-05-31T14:30:00Z"
            ) from None
    if isinstance(value, datetime):
        utc = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        since = utc - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"{name} {value!r} is not a time; give microseconds since 1970, a datetime or ISO 8601 text")
    if not _EARLIEST <= value <= _LATEST:
        raise UsageError(f"{name} {value} is outside the years 1 to 9999; times are microseconds since 1970, UTC")
    return value


def iso(value: int | None) -> str | None:
    """The time as people read it."""
    if value is None:
        return None
    seconds, rest = divmod(value, 1_000_000)
    days, second = divmod(seconds, 86_400)
    day = datetime.fromordinal(719_163 + days)
    moment = day.replace(hour=second // 3600, minute=second // 60 % 60, second=second % 60, microsecond=rest)
    return moment.isoformat() + "Z"


def new_id() -> str:
    """A UUID of version 7 (RFC 9562): the milliseconds of now, then chance."""
    chance = int.from_bytes(os.urandom(10), "big")
    number = (time.time_ns() // 1_000_000) << 80 | chance
    number = number & ~(0xF << 76) | 7 << 76
    return str(UUID(int=number & ~(0x3 << 62) | 2 << 62))
