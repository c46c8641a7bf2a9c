"""The markers as text, needed without torch: what a record must not contain, and how foreign text is made harmless."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass

__all__ = ["MARKERS", "MarkerStrings", "escape_markers", "find_marker"]

_WORD_JOINER = "\u2060"


@dataclass(frozen=True)
class MarkerStrings:
    """The four markers as a tokenizer knows them."""

    block_start: str = "<|block_start|>"
    block_end: str = "<|block_end|>"
    summary_start: str = "<|summary_start|>"
    summary_end: str = "<|summary_end|>"


MARKERS = MarkerStrings()


def find_marker(text: str, markers: MarkerStrings = MARKERS) -> str | None:
    """The first marker that stands in a text, None if there is none."""
    found = [(text.find(marker), marker) for marker in astuple(markers) if marker in text]
    return min(found)[1] if found else None


def escape_markers(text: str, markers: Iterable[str] | MarkerStrings = MARKERS) -> str:
    """The text with every marker broken by an invisible word joiner, so that no tokenizer makes a marker of it.

    For what users and tools wrote: a marker in there would evict what the model reads.
    """
    for marker in astuple(markers) if isinstance(markers, MarkerStrings) else markers:
        text = text.replace(marker, marker[:1] + _WORD_JOINER + marker[1:])
    return text
