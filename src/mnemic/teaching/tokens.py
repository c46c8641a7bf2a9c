"""Counting tokens: with a tokenizer when one is named, otherwise by rule, with no download.

The paper counts in cl100k_base, whose vocabulary has to be fetched. What blocks need is a length, not token ids.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Protocol

from mnemic.errors import MissingExtra, UsageError

__all__ = ["ApproximateTokens", "TokenCounter", "TokenizerTokens", "token_counter"]

# The pieces into which cl100k_base cuts text before it merges bytes: a word with the space before it, up to three
# digits, punctuation with the space before it, line breaks, other white space.
_PIECES = re.compile(r"(?i:'(?:s|t|re|ve|m|ll|d))| ?[^\W\d_]+|\d{1,3}| ?(?:[^\s\w]|_)+[\r\n]*|\s*[\r\n]+|\s+")
_WORD_BYTES = 8
_SYMBOL_BYTES = 3


class TokenCounter(Protocol):
    """`name` says in records and manifests what counted."""

    name: str

    def count(self, text: str) -> int: ...


class ApproximateTokens:
    """cl100k_base's own cuts, and for what is longer than one token a rule: 8 plain letters of a word, 3 other bytes.

    Words of English mostly are one token of cl100k_base and digits go by three, so prose and mathematics come out
    close; letters beyond ASCII and symbols are counted by their bytes, so a word never costs more than its parts.
    """

    name = "approximate-cl100k/1"

    def count(self, text: str) -> int:
        total = 0
        for match in _PIECES.finditer(text):
            piece = match[0].strip()
            if not piece or piece.isdecimal():
                total += 1
                continue
            size = len(piece.encode("utf-8", "surrogatepass"))
            latin = sum(character.isascii() for character in piece) if piece[0].isalnum() else 0
            total += math.ceil(latin / _WORD_BYTES + (size - latin) / _SYMBOL_BYTES)
        return total


class TokenizerTokens:
    """A tokenizer of the `tokenizers` library; special tokens are not added."""

    def __init__(self, tokenizer: Any, name: str) -> None:
        self._tokenizer = tokenizer
        self.name = name

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


def token_counter(spec: str | None = None) -> TokenCounter:
    """The counter that `spec` names.

    Args:
        spec: a tokenizer.json, a folder that holds one, or the name of a model on the Hugging Face hub;
            None counts by rule.
    """
    if spec is None:
        return ApproximateTokens()
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError:
        raise MissingExtra(f"counting tokens with '{spec}'", "models") from None
    path = Path(spec).expanduser()
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        tokenizer = Tokenizer.from_file(str(file)) if file.exists() else Tokenizer.from_pretrained(spec)
    except Exception as error:  # the library raises bare Exception for a file that is no tokenizer
        raise UsageError(f"no tokenizer '{spec}': {str(error).splitlines()[0]}") from error
    return TokenizerTokens(tokenizer, f"tokenizer:{path.name if file.exists() else spec}")
