"""A conversation as token ids, with who wrote each token: markers of users and tools are text, never commands.

Legend: T tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import UsageError
from mnemic.teaching.memento.marker_text import MARKERS, MarkerStrings, escape_markers
from mnemic.teaching.memento.rules import Role

__all__ = ["ChatTokens", "encode_chat"]

_ROLES = {"assistant": Role.ASSISTANT, "tool": Role.OBSERVED}


class ChatTokens(NamedTuple):
    """
    Attributes:
        ids: [T].
        roles: [T] of :class:`Role`.
    """

    ids: NDArray[np.int64]
    roles: NDArray[np.int64]


def encode_chat(
    tokenizer: Any,
    messages: Sequence[Mapping[str, Any]],
    *,
    add_generation_prompt: bool = True,
    markers: MarkerStrings = MARKERS,
) -> ChatTokens:
    """Render messages with the tokenizer's chat template, message by message.

    Args:
        messages: {"role", "content", ...} as transformers takes them; content as a string.
        add_generation_prompt: end with what opens the assistant's next turn.

    Raises:
        UsageError: no chat template, or one that rewrites earlier messages when later ones come (as those do that strip
            the reasoning of earlier turns): then nobody can say which token belongs to whom.
    """
    if getattr(tokenizer, "chat_template", None) is None:
        raise UsageError("the tokenizer has no chat template; export a taught checkpoint, which has one, or set it")
    safe = [_harmless(message, markers) for message in messages]
    ids: list[int] = []
    roles: list[int] = []
    read = ""
    steps = [(index, False) for index in range(1, len(safe) + 1)] + [(len(safe), True)] * add_generation_prompt
    for index, opens_turn in steps:
        text = tokenizer.apply_chat_template(safe[:index], tokenize=False, add_generation_prompt=opens_turn)
        if not text.startswith(read):
            raise UsageError(
                f"the chat template rewrites earlier messages when message {index} is added; use one that only appends"
            )
        new = tokenizer.encode(text[len(read) :], add_special_tokens=False)
        role = Role.ASSISTANT if opens_turn else _ROLES.get(str(safe[index - 1].get("role")), Role.PROTECTED)
        ids += new
        roles += [int(role)] * len(new)
        read = text
    return ChatTokens(np.asarray(ids, np.int64), np.asarray(roles, np.int64))


def _harmless(message: Mapping[str, Any], markers: MarkerStrings) -> dict[str, Any]:
    if message.get("role") == "assistant":
        return dict(message)
    content = message.get("content")
    return {**message, "content": escape_markers(content, markers) if isinstance(content, str) else content}
