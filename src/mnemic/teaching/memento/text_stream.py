"""Tokens to text as they come: no broken characters, thinking apart from the answer, and stop strings found in time."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple
from typing import Any, Literal, NamedTuple

from mnemic.teaching.memento.marker_text import MARKERS, MarkerStrings

__all__ = ["Channel", "Detokeniser", "Piece", "Shown", "Splitter", "StopStrings", "Watch"]

Channel = Literal["reasoning", "content"]
Shown = Literal["split", "plain", "raw"]
"""Thinking and answer apart, without markers; all in one, without markers; or all that the model wrote."""
_THINK, _ANSWER = "<think>", "</think>"
_BROKEN = "\N{REPLACEMENT CHARACTER}"


class Piece(NamedTuple):
    """Text of one kind."""

    channel: Channel
    text: str


class Detokeniser:
    """Text of one token after the other.

    A character may be spread over tokens, and a token's text may depend on the one before; so a few are decoded
    together, and nothing is given out that ends in half a character.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._start = self._given = 0

    def push(self, token: int) -> str:
        self._ids.append(token)
        before, now = self._decode(self._start, self._given), self._decode(self._start, None)
        if now.endswith(_BROKEN) or len(now) <= len(before):
            return ""
        self._start, self._given = self._given, len(self._ids)
        return now[len(before) :]

    def flush(self) -> str:
        """What is left, half characters as replacement characters."""
        before, now = self._decode(self._start, self._given), self._decode(self._start, None)
        self._start = self._given = len(self._ids)
        return now[len(before) :]

    def _decode(self, start: int, end: int | None) -> str:
        text: str = self._tokenizer.decode(
            self._ids[start:end], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text


class Watch:
    """Finds the first of some strings in text that comes in pieces, and holds back what may be the start of one."""

    def __init__(self, wanted: Sequence[str]) -> None:
        self._wanted = [text for text in wanted if text]
        self._starts = {text[:size] for text in self._wanted for size in range(1, len(text))}
        self._longest = max(map(len, self._starts), default=0)
        self._held = ""

    def push(self, text: str) -> Iterator[tuple[str, str | None]]:
        """Pairs of text before a string that was found and that string; the last pair has None."""
        self._held += text
        while True:
            found = min(((at, w) for w in self._wanted if (at := self._held.find(w)) >= 0), default=None)
            if found is None:
                break
            at, wanted = found
            before, self._held = self._held[:at], self._held[at + len(wanted) :]
            yield before, wanted
        longest = min(self._longest, len(self._held))
        keep = next((size for size in range(longest, 0, -1) if self._held[-size:] in self._starts), 0)
        split = len(self._held) - keep
        safe, self._held = self._held[:split], self._held[split:]
        yield safe, None

    def flush(self) -> str:
        rest, self._held = self._held, ""
        return rest


class Splitter:
    """Text without markers and special tokens, and where it is to be split, thinking apart from the answer.

    What stands in <think> or in a block or memento is reasoning; the rest is content.

    Args:
        shown: what is taken out, and whether it is split.
        thinking: the prompt has opened <think> already.
        special: strings of tokens that are never shown.
    """

    def __init__(
        self, shown: Shown, thinking: bool = False, special: Sequence[str] = (), markers: MarkerStrings = MARKERS
    ) -> None:
        self._markers, self._splits = markers, shown == "split"
        self._thinking, self._inside, self._begun = thinking, False, False
        taken_out = [*astuple(markers), *special] if shown != "raw" else []
        self._watch = Watch([*([_THINK, _ANSWER] if self._splits else []), *dict.fromkeys(taken_out)])

    def push(self, text: str) -> list[Piece]:
        pieces = []
        for before, tag in self._watch.push(text):
            pieces += self._piece(before)
            self._turn(tag)
        return pieces

    def flush(self) -> list[Piece]:
        return self._piece(self._watch.flush())

    def _turn(self, tag: str | None) -> None:
        if tag in (_THINK, _ANSWER):
            self._thinking = tag == _THINK
        elif tag in (self._markers.block_start, self._markers.summary_start):
            self._inside = True
        elif tag in (self._markers.block_end, self._markers.summary_end):
            self._inside = False

    def _piece(self, text: str) -> list[Piece]:
        if not self._splits:
            return [Piece("content", text)] if text else []
        if self._thinking or self._inside:
            return [Piece("reasoning", text)] if text else []
        if not self._begun:  # the line breaks after </think> belong to nobody
            text = text.lstrip()
            self._begun = bool(text)
        return [Piece("content", text)] if text else []


class StopStrings:
    """Cuts text off before the first of some strings, in either channel."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._watches: dict[Channel, Watch] = {"reasoning": Watch(stop), "content": Watch(stop)}
        self.found: str | None = None

    def push(self, pieces: Sequence[Piece]) -> list[Piece]:
        shown: list[Piece] = []
        for channel, text in pieces:
            for other in self._watches:
                if other != channel:  # a change of channel ends what was held back
                    shown += self._piece(other, self._watches[other].flush())
            for before, stop in self._watches[channel].push(text):
                shown += self._piece(channel, before)
                if stop is not None:
                    self.found = stop
                    return shown
        return shown

    def flush(self) -> list[Piece]:
        return [piece for channel, watch in self._watches.items() for piece in self._piece(channel, watch.flush())]

    @staticmethod
    def _piece(channel: Channel, text: str) -> list[Piece]:
        return [Piece(channel, text)] if text else []
