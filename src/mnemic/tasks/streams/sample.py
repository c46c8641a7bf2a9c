"""What of a stream is kept in memory: the documents that choose and judge, and enough to learn a tokenizer from."""

from collections.abc import Iterable

from mnemic.tasks.corpus import Corpus
from mnemic.tasks.streams.base import DocumentSource

__all__ = ["HELD_OUT_BYTES", "SAMPLE_BYTES", "sampled"]

SAMPLE_BYTES = 16 << 20  # of training text, from which tokenizers and counts of n-grams are made
HELD_OUT_BYTES = 4 << 20  # of each split that chooses or judges


def sampled(path: str, source: DocumentSource) -> Corpus:
    """The first documents of each split, up to about these many bytes."""
    splits = {
        "train": _first(source.read_once("train"), SAMPLE_BYTES),
        "valid": _first(source.read_once("valid"), HELD_OUT_BYTES),
        "test": _first(source.read_once("test"), HELD_OUT_BYTES),
    }
    return Corpus(path, splits, source.origin)  # type: ignore[arg-type]


def _first(documents: Iterable[bytes], most: int) -> bytes:
    texts, size = [], 0
    for text in documents:
        if text:
            texts.append(text)
            size += len(text)
        if size >= most:
            break
    return b"\n\n".join(texts)
