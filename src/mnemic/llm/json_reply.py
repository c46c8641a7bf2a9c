"""JSON out of what a model wrote, which is often wrapped in a fence, in thoughts or in friendly words."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NoReturn

from mnemic.llm.json_schema import complaint_about

__all__ = ["UnreadableReply", "read_json_reply"]

_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"```[a-zA-Z]*\s*\n(.*?)```", re.DOTALL)
_OPENER = re.compile(r"[\[{]")


class UnreadableReply(ValueError):
    """The reply is not as it must be; the message tells the model why."""


def read_json_reply(text: str, schema: Mapping[str, Any]) -> Any:
    """The JSON value in `text` that satisfies `schema`.

    The whole text is tried first, then what stands in fences, then what begins at the first bracket. Nothing is
    mended: a value that was cut short or has too few items is refused.

    Raises:
        UnreadableReply: there is none; the complaint is about the first value that could be read.
    """
    first: str | None = None
    text = _THOUGHTS.sub("", text)
    for value in _candidates(text):
        complaint = complaint_about(value, schema)
        if complaint is None:
            return value
        first = first or complaint
    raise UnreadableReply(first or f"the reply is not valid JSON: {_why_not_json(text)}")


def _candidates(text: str) -> Iterator[Any]:
    for whole in (text, *(match[1] for match in _FENCE.finditer(text))):
        try:
            yield json.loads(whole, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            continue
    # Only from the first bracket on: what stands inside a value that was cut short must not pass for the whole.
    opener = _OPENER.search(text)
    if opener is not None:
        with suppress(ValueError, RecursionError):
            yield json.JSONDecoder(parse_constant=_no_constant).raw_decode(text, opener.start())[0]


def _why_not_json(text: str) -> str:
    try:
        json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as wrong:
        return str(wrong)
    return "it could not be read"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
