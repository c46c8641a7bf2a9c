"""The text of a web page, without its scripts and styles."""

import re
from html.parser import HTMLParser

from mnemic.storage.reading.text import named
from mnemic.storage.records import Event

__all__ = ["read_html"]

_SILENT = frozenset({"script", "style", "template", "noscript", "svg", "head"})
_VOID = frozenset(
    {"meta", "link", "base", "br", "hr", "img", "input", "source", "wbr", "col", "area", "embed", "track"}
)
_INLINE = frozenset(
    {"a", "abbr", "b", "bdi", "bdo", "cite", "code", "em", "i", "kbd", "mark", "q", "s", "small", "span", "strong"}
    | {"sub", "sup", "time", "u", "var", "wbr", "img", "font", "tt", "del", "ins", "label"}
)


def read_html(text: str, source: str) -> Event:
    page = _Page()
    page.feed(text)
    page.close()
    lines = (" ".join(line.split()) for line in "".join(page.text).split("\n"))
    whole = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    title = " ".join("".join(page.title).split())
    return Event(whole, source=source, title=title[:300] or named(source))


class _Page(HTMLParser):
    """Collects the text that a reader sees; blocks end lines."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []
        self.title: list[str] = []
        self._silent: list[str] = []
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "body":  # whatever the head left open ends here
            self._silent.clear()
        if tag == "title" and "svg" not in self._silent:
            self._in_title = True
        elif tag in _SILENT:
            self._silent.append(tag)
        elif tag not in _INLINE:
            self.text.append("\n")
        if tag in ("td", "th", "li"):
            self.text.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag in self._silent:
            while self._silent.pop() != tag:
                pass
        elif tag not in _INLINE and tag not in _VOID:
            self.text.append("\n")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title.append(data)
        elif not self._silent:
            self.text.append(data.replace("\n", " "))
