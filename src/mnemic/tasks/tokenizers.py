"""Text to token ids: bytes, a byte-pair encoding trained on the training split, or a tokenizer that somebody has."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mnemic.errors import MissingExtra, UsageError, nearest
from mnemic.tasks.base import IntArray

__all__ = [
    "DEFAULT_BPE_VOCAB",
    "ByteTokenizer",
    "FastTokenizer",
    "PythonTokenizer",
    "Tokenizer",
    "bpe_tokenizer",
    "cache_folder",
    "fingerprint",
    "load_tokenizer",
]

DEFAULT_BPE_VOCAB = 4096

_PIECE = 1 << 16  # bytes encoded in one call; tokenizers slow down, and take much memory, on very long strings
_BPE_VERSION = "1"


class Tokenizer(Protocol):
    """Tokens in, text out; no special tokens are added."""

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""

    def encode(self, text: bytes) -> IntArray:
        """UTF-8 -> [N] ids."""

    def decode(self, ids: IntArray) -> str:
        """[N] ids -> text; half characters become U+FFFD."""


@dataclass(frozen=True)
class ByteTokenizer:
    """Each byte of UTF-8 is a token."""

    vocab_size: int = 256

    def encode(self, text: bytes) -> IntArray:
        return np.frombuffer(text, np.uint8)

    def decode(self, ids: IntArray) -> str:
        return ids.astype(np.uint8).tobytes().decode("utf-8", errors="replace")


class FastTokenizer:
    """A tokenizer of the `tokenizers` library."""

    def __init__(self, backend: Any) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self.vocab_size = max(backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def encode(self, text: bytes) -> IntArray:
        encodings = self._backend.encode_batch_fast(
            [piece.decode() for piece in _pieces(text)], add_special_tokens=False
        )
        return np.concatenate([np.zeros(0, np.int32), *(np.asarray(e.ids, np.int32) for e in encodings)])

    def decode(self, ids: IntArray) -> str:
        return str(self._backend.decode(ids.tolist(), skip_special_tokens=False))

    def file_content(self) -> str:
        """As the library keeps it in a file, JSON."""
        return str(self._backend.to_str())


class PythonTokenizer:
    """A transformers tokenizer that has no backend in the `tokenizers` library."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.vocab_size = max(backend.get_vocab().values(), default=-1) + 1

    def encode(self, text: bytes) -> IntArray:
        pieces = (self._backend.encode(piece.decode(), add_special_tokens=False) for piece in _pieces(text))
        return np.concatenate([np.zeros(0, np.int32), *(np.asarray(ids, np.int32) for ids in pieces)])

    def decode(self, ids: IntArray) -> str:
        return str(self._backend.decode(ids.tolist()))


def load_tokenizer(name: str) -> Tokenizer:
    """A tokenizer by "byte", the path of a tokenizers file or a transformers folder, or its name on the model hub.

    Raises:
        UsageError: nothing of that name can be loaded.
        MissingExtra: the library for it is not installed.
    """
    if name == "byte":
        return ByteTokenizer()
    if file := _tokenizers_file(name):
        return FastTokenizer(_from_file(file))
    return _from_transformers(name, Path(name).expanduser())


def fingerprint(name: str) -> str:
    """sha256 of the file behind a tokenizer's name, "" where there is none: tomorrow the file may be another."""
    file = _tokenizers_file(name)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file else ""


def bpe_tokenizer(training: bytes, vocab: int = DEFAULT_BPE_VOCAB) -> Tokenizer:
    """A byte-level BPE learned from `training`; the next call with the same text reads it from the cache folder.

    It has fewer than `vocab` tokens when the text has too few pairs that occur twice.

    Raises:
        MissingExtra: the `tokenizers` library is not installed.
    """
    library = _library("tokenizer=bpe", "tokenizers")
    key = hashlib.sha256(f"{_BPE_VERSION}:{vocab}:".encode() + hashlib.sha256(training).digest()).hexdigest()[:24]
    kept = cache_folder() / "tokenizers" / f"bpe-{key}.json"
    try:
        return FastTokenizer(library.Tokenizer.from_str(kept.read_text(encoding="utf-8")))
    except Exception:  # absent, unreadable or torn (the library raises plain Exception): made again below
        trained = _train_bpe(library, training, vocab)
    _keep(kept, trained.to_str())
    return FastTokenizer(trained)


def cache_folder() -> Path:
    """Where what can be made again is kept: $MNEMIC_CACHE, $XDG_CACHE_HOME/mnemic or ~/.cache/mnemic."""
    if own := os.environ.get("MNEMIC_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mnemic"


def _train_bpe(library: Any, training: bytes, vocab: int) -> Any:
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocab,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),  # any text can be encoded, seen or not
    )
    tokenizer.train_from_iterator((piece.decode() for piece in _pieces(training)), trainer)
    return tokenizer


def _keep(path: Path, content: str) -> None:
    """Written whole or not at all; a folder that cannot be written costs time at the next run, nothing else."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(content)
            os.replace(draft, path)
        except OSError:
            os.unlink(draft)
    except OSError:
        return


def _pieces(text: bytes) -> Iterator[bytes]:
    """The text in pieces of whole lines, each about `_PIECE` bytes; a longer line stays whole."""
    start = 0
    while start < len(text):
        end = text.rfind(b"\n", start, start + _PIECE) + 1 if len(text) - start > _PIECE else len(text)
        if end <= start:
            end = text.find(b"\n", start + _PIECE) + 1 or len(text)
        yield text[start:end]
        start = end


def _tokenizers_file(name: str) -> Path | None:
    path = Path(name).expanduser()
    file = path / "tokenizer.json" if path.is_dir() else path
    return file if file.is_file() else None


def _from_file(file: Path) -> Any:
    library = _library(f"tokenizer={file}", "tokenizers")
    try:
        return library.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain Exception
        raise UsageError(f"tokenizer '{file}' is not a file of the tokenizers library: {error}") from error


def _from_transformers(name: str, path: Path) -> Tokenizer:
    if not path.is_dir() and (name.endswith(".json") or path.is_absolute() or name.startswith((".", "~"))):
        raise UsageError(f"tokenizer '{name}': no such file or folder")
    if not path.is_dir() and get_close_matches(name.lower(), ("byte", "bpe"), cutoff=0.8):
        raise UsageError(f"no tokenizer '{name}'{nearest(name.lower(), ('byte', 'bpe'))}")
    library = _library(f"tokenizer={name}", "transformers")
    load = partial(library.AutoTokenizer.from_pretrained, str(path) if path.is_dir() else name, trust_remote_code=False)
    failures = (OSError, ValueError, ImportError, KeyError, TypeError)
    try:
        try:
            loaded = load(local_files_only=True)  # what is here already needs no network, and no waiting for one
        except failures:
            loaded = load()
    except failures as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UsageError(
            f"tokenizer '{name}' is neither byte, bpe, a file, nor one that transformers can load ({reason})"
        ) from error
    backend = getattr(loaded, "backend_tokenizer", None)
    return FastTokenizer(backend) if backend is not None else PythonTokenizer(loaded)


def _library(what: str, module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        raise MissingExtra(what, "models") from missing
