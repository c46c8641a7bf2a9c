"""Conversations as JSON lines: {"session", "actor", "time", "text"}, and anything else as metadata."""

import json
from collections.abc import Iterator
from typing import Any

from mnemic.errors import UsageError
from mnemic.storage.records import Event
from mnemic.storage.times import microseconds

__all__ = ["chat_event", "read_chat"]

_FIELDS = ("session", "actor", "title", "level")


def read_chat(text: str, source: str) -> Iterator[Event | tuple[int, str]]:
    """Every line as an event of the source "file:line", or its number and what is wrong with it."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield chat_event(_object(line), f"{source}:{number}")
            except UsageError as wrong:
                yield number, str(wrong)


def _object(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not JSON: {error}") from None


def chat_event(message: Any, source: str) -> Event:
    """A message as an event.

    Raises:
        UsageError: it is none, or a field of it is not as it must be.
    """
    if not isinstance(message, dict) or not isinstance(message.get("text"), str):
        raise UsageError('not a message; a line is {"session": …, "actor": …, "time": …, "text": …}')
    value = dict(message)
    fields: dict[str, Any] = {}
    for name in _FIELDS:
        given = value.pop(name, None)
        if given is not None and not isinstance(given, str | int):
            raise UsageError(f"{name} is {type(given).__name__}; must be text")
        fields[name] = "" if given is None else str(given)
    time = value.pop("time", None)
    return Event(value.pop("text"), source=source, time=microseconds(time), metadata=value, **fields)
