"""What reading and writing cost: tokens, seconds, and the bytes that were held."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Speed"]


@dataclass
class Speed:
    """Tokens and seconds, added up over calls.

    Attributes:
        prefill_tokens: of prompts, read; padding is not counted.
        decode_tokens: written; the token that ends a text is not counted.
        held_bytes: the most that the memory of one prompt really held once it was read.
    """

    prefill_tokens: int = 0
    prefill_seconds: float = 0.0
    decode_tokens: int = 0
    decode_seconds: float = 0.0
    held_bytes: int = 0

    @property
    def prefill_per_second(self) -> float | None:
        return self.prefill_tokens / self.prefill_seconds if self.prefill_seconds else None

    @property
    def decode_per_second(self) -> float | None:
        return self.decode_tokens / self.decode_seconds if self.decode_seconds else None

    def as_json(self) -> dict[str, Any]:
        """With tokens a second; None where nothing was read or written."""
        rates = {"prefill_per_second": self.prefill_per_second, "decode_per_second": self.decode_per_second}
        return {**asdict(self), **rates}
