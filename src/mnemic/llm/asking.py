"""Asking until the reply is as it must be, up to a point."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from mnemic.llm.cache import Reply
from mnemic.llm.errors import BadReply
from mnemic.llm.json_reply import UnreadableReply, read_json_reply
from mnemic.llm.protocol import Check
from mnemic.llm.request import Request

__all__ = ["ask_until_good"]

_ASKED_AGAIN = 2


def ask_until_good(
    ask: Callable[[Request], Reply],
    request: Request,
    check: Check | None,
    tag: str,
    on_given_up: Callable[[list[Request]], None] = lambda _: None,
) -> tuple[Reply, Any | None]:
    """The first acceptable reply, and its JSON where a schema was given.

    Args:
        ask: one request, one reply.
        on_given_up: told all requests that were answered badly, before the error is raised.

    Raises:
        BadReply: none of three replies was acceptable.
    """
    asked: list[Request] = []
    while True:
        reply = ask(request)
        asked.append(request)
        try:
            return reply, _accepted(reply, request.schema, check)
        except UnreadableReply as wrong:
            if len(asked) > _ASKED_AGAIN:
                on_given_up(asked)
                what = f" to '{tag}'" if tag else ""
                shown = json.dumps(reply.text[:120], ensure_ascii=False)
                raise BadReply(
                    f"{request.model} answered{what} {len(asked)} times and never as asked; "
                    f"the last time {wrong}; its reply began {shown}"
                ) from None
            said = {"role": "assistant", "content": reply.text}
            complaint = f"That reply cannot be used: {wrong}. Answer the request above again, whole and corrected."
            request = request.followed_by([said, {"role": "user", "content": complaint}])


def _accepted(reply: Reply, schema: Mapping[str, Any] | None, check: Check | None) -> Any | None:
    if not reply.text.strip():
        raise UnreadableReply("the reply is empty")
    if schema is not None:
        try:
            parsed = read_json_reply(reply.text, schema)
        except UnreadableReply as wrong:
            raise UnreadableReply(
                f"{wrong} (it was cut short: be briefer)" if reply.cut_short else str(wrong)
            ) from None
    elif reply.cut_short:
        raise UnreadableReply("the reply was cut short at the limit of tokens: be briefer")
    else:
        parsed = None
    complaint = check(reply.text if schema is None else parsed) if check is not None else None
    if complaint is not None:
        raise UnreadableReply(complaint)
    return parsed
