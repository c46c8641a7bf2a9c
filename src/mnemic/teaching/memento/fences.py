"""Foreign text inside a prompt, marked off by tags that it cannot contain.

A trace may hold anything, instructions and imitations of our own tags included. The tags carry a digest of the texts
that stands in none of them; the same texts always get the same tags, so that replies can be found in a cache.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

__all__ = ["fenced", "numbered_gaps", "read_fenced", "read_gaps", "tag_for"]


def tag_for(texts: Sequence[str]) -> str:
    """Eight hexadecimal digits that occur in none of the texts."""
    digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
    while any(digest[:8] in text for text in texts):
        digest = hashlib.sha256(digest.encode()).hexdigest()
    return digest[:8]


def fenced(name: str, text: str, tag: str, number: int | None = None) -> str:
    """One text between its tags."""
    label = f"{name}-{tag}" if number is None else f"{name}-{tag} {number}"
    return f"<{label}>\n{text}\n</{name}-{tag}>"


def numbered_gaps(texts: Sequence[str], tag: str, first: int) -> str:
    """Texts one after the other, with a numbered tag in every gap between two."""
    pieces = [texts[0]]
    for number, text in enumerate(texts[1:], start=first):
        pieces += [f"<gap-{tag} {number}>", text]
    return "\n".join(pieces)


def read_fenced(prompt: str, name: str) -> list[str]:
    """The texts that `fenced` put into a prompt under a name."""
    pattern = rf"<{re.escape(name)}-([0-9a-f]{{8}})(?: \d+)?>\n(.*?)\n</{re.escape(name)}-\1>"
    return [match[2] for match in re.finditer(pattern, prompt, re.DOTALL)]


def read_gaps(text: str) -> list[str]:
    """The texts that `numbered_gaps` joined."""
    return re.split(r"\n<gap-[0-9a-f]{8} \d+>\n", text)
