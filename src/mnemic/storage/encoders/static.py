"""Encoders that have one vector per token: a text is the mean of its tokens'. No torch, no network.

V tokens in the vocabulary, D wide.
"""

import hashlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import MissingExtra, UsageError
from mnemic.storage.encoders.pooling import encodable, pieces, unit

__all__ = ["StaticEncoder", "model2vec", "wordllama"]

_TEXTS_AT_ONCE = 64
_TOKENS_AT_ONCE = 16_384
_WORDLLAMA = ("weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json")


class StaticEncoder:
    """Args:
    name: as the user asks for it.
    revision: of the files that it was read from.
    tokenizer: a `tokenizers.Tokenizer`.
    table: `[V, D]`.
    """

    def __init__(self, name: str, revision: str, tokenizer: Any, table: NDArray[Any]) -> None:
        self.name = name
        self.revision = revision
        self.dim = int(table.shape[1])
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._table = table

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Encoder.encode`. A text's vector is the same to the last bit whatever it is encoded together with."""
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for first in range(0, len(texts), _TEXTS_AT_ONCE):
            batch = [list(pieces(encodable(text))) for text in texts[first : first + _TEXTS_AT_ONCE]]
            tokenized = iter(self._tokenizer.encode_batch_fast(list(chain(*batch)), add_special_tokens=False))
            for index, parts in enumerate(batch, first):
                ids = np.concatenate([np.asarray(next(tokenized).ids, np.int64) for _ in parts])
                vectors[index] = sum(self._sums(ids), np.zeros(self.dim, np.float32))
        return unit(vectors)

    def _sums(self, ids: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        ids = np.minimum(ids, len(self._table) - 1)
        for first in range(0, len(ids), _TOKENS_AT_ONCE):
            yield self._table[ids[first : first + _TOKENS_AT_ONCE]].sum(axis=0, dtype=np.float32)


def wordllama() -> StaticEncoder:
    """WordLlama's 256-d vectors, out of the package's own files. The package is not imported: that takes longer than
    reading them, and its loader looks for the tokenizer in a folder that is not there.

    Raises:
        MissingExtra: the package is not installed.
        UsageError: it is of a version with other files.
    """
    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("encoder 'wordllama'", "store")
    folder = Path(spec.submodule_search_locations[0])
    weights, tokenizer = (folder / name for name in _WORDLLAMA)
    for file in (weights, tokenizer):
        if not file.is_file():
            raise UsageError(f"encoder 'wordllama': the package has no {file.name}; install wordllama 0.4")
    return _read("wordllama", weights, tokenizer, "embedding.weight")


def model2vec(name: str) -> StaticEncoder:
    """A model2vec model: a folder with `model.safetensors` and `tokenizer.json`, or a name on the hub.

    Raises:
        UsageError: no such model, or one with a vocabulary of its own kind.
    """
    from mnemic.storage.encoders.model_files import ModelFiles

    files = ModelFiles(name)
    return _read(f"model2vec:{name}", files.path("model.safetensors"), files.path("tokenizer.json"), "embeddings")


def _read(name: str, weights: Path, tokenizer: Path, key: str) -> StaticEncoder:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtra(f"encoder '{name}'", "store") from None
    contents = weights.read_bytes()
    revision = hashlib.sha256(contents + tokenizer.read_bytes()).hexdigest()
    try:
        tensors = load(contents)
    except SafetensorError as wrong:
        raise UsageError(f"encoder '{name}': {weights} cannot be read: {wrong}") from None
    if set(tensors) != {key} or tensors[key].ndim != 2:
        raise UsageError(f"encoder '{name}': {weights} holds {sorted(tensors)}; one table '{key}' is what can be used")
    return StaticEncoder(name, revision[:16], Tokenizer.from_file(str(tokenizer)), tensors[key])
