"""Corpora and conversations with questions whose evidence is known."""

from collections.abc import Iterator
from pathlib import Path

from mnemic.errors import UsageError
from mnemic.storage.corpora.base import Corpus, Question
from mnemic.storage.corpora.conversations import is_locomo, is_longmemeval, locomo, longmemeval
from mnemic.storage.corpora.files import read_json
from mnemic.storage.corpora.folders import read_folder

__all__ = ["Corpus", "Question", "open_conversations", "open_corpus"]


def open_corpus(path: str | Path) -> Corpus:
    """A folder of passages with questions; see `folders.read_folder`.

    Raises:
        UsageError: it is none, or a line of it is not as it must be; the message names the file and the line.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise UsageError(f"corpus '{path}' is no folder; it must be one with corpus.jsonl and questions.jsonl")
    return read_folder(folder)


def open_conversations(path: str | Path) -> Iterator[Corpus]:
    """The conversations of a file in LoCoMo's or LongMemEval's format, gzipped or not, one at a time.

    Raises:
        UsageError: it is neither.
    """
    data = read_json(Path(path))
    items = data if isinstance(data, list) else [data]
    if items and all(map(is_locomo, items)):
        return (locomo(item, f"{path}: conversation {number}") for number, item in enumerate(items, 1))
    if items and all(map(is_longmemeval, items)):
        return (longmemeval(item, f"{path}: question {number}") for number, item in enumerate(items, 1))
    raise UsageError(f"'{path}' holds no conversations in LoCoMo's or LongMemEval's format")
