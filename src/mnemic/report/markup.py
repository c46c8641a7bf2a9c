"""HTML in which text is escaped unless it is known to be markup."""

from __future__ import annotations

import re
from html import escape
from typing import TypeAlias

__all__ = ["Content", "Html", "join", "tag"]

_VOID = {"br", "hr", "meta", "link", "col"}
# HTML has no way to write these, not even escaped, and a page that holds them may be read as another encoding
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


class Html(str):
    """Markup that is put into a page as it is."""

    __slots__ = ()


Content: TypeAlias = "str | Html | list[str] | list[Html] | list[str | Html] | None"


def printable(text: str) -> str:
    return _UNPRINTABLE.sub("\ufffd", text)


def tag(name: str, /, *content: Content, **attributes: str | int | bool | None) -> Html:
    """One element: tag("p", "a < b", class_="note") -> <p class="note">a &lt; b</p>.

    Strings are escaped and `Html` is not; None, and attributes that are None or False, are left out;
    an underscore in an attribute's name stands for a hyphen, one at its end only keeps Python content.
    """
    written = "".join(
        _attribute(key, value) for key, value in attributes.items() if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(*content)}</{name}>")


def join(*content: Content) -> Html:
    """Pieces one after the other, escaped where they are text."""
    return Html("".join(_piece(piece) for piece in content))


def _piece(piece: Content) -> str:
    if piece is None:
        return ""
    if isinstance(piece, Html):
        return piece
    if isinstance(piece, str):
        return escape(printable(piece))
    return join(*piece)


def _attribute(key: str, value: str | int | bool) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(printable(str(value)))}"'
