"""Plain text and Markdown, which is kept as it is written."""

import re
from pathlib import Path

from mnemic.errors import UsageError
from mnemic.storage.records import Event

__all__ = ["decoded", "named", "read_markdown", "read_text"]

_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_HEADING = re.compile(r"^#\s+(.+?)\s*#*\s*$", re.MULTILINE)
_LONGEST_TITLE = 300


def decoded(content: bytes, source: str) -> str:
    """The text of a file: UTF-8, or what its byte order mark says.

    Raises:
        UsageError: it is binary, or in another encoding.
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if b"\0" in content[:8192]:
            raise UsageError(f"'{source}' is binary, not text") from None
        raise UsageError(
            f"'{source}' is not UTF-8 (byte {error.start}); convert it, such as with iconv -f LATIN1 -t UTF-8"
        ) from None
    if (place := text.find("\0")) >= 0:
        raise UsageError(f"'{source}' is binary, not text (NUL at character {place})")
    return text


def read_text(text: str, source: str) -> Event:
    return Event(text, source=source, title=named(source))


def read_markdown(text: str, source: str) -> Event:
    """Its title is the first heading."""
    heading = _HEADING.search(text)
    return Event(text, source=source, title=heading[1][:_LONGEST_TITLE] if heading else named(source))


def named(source: str) -> str:
    """A title from the name of a file; what comes from a pipe has none."""
    return "" if source == "-" else Path(source).stem.replace("_", " ")[:_LONGEST_TITLE]
