"""Encoders by name. `wordllama`, the default, needs neither torch nor a network nor a key."""

from pathlib import Path

from mnemic.errors import UsageError, nearest
from mnemic.storage.encoder import Encoder

__all__ = ["DEFAULT_ENCODER", "open_encoder"]

DEFAULT_ENCODER = "wordllama"


def open_encoder(name: str = DEFAULT_ENCODER, *, cache: Path | None = None, base_url: str | None = None) -> Encoder:
    """The encoder of a name.

    Args:
        name: "wordllama", "minilm", "model2vec:NAME", "openai:MODEL", or the name or folder of a sentence-transformers
            model, such as "BAAI/bge-small-en-v1.5".
        cache: a file for vectors that are slow to make; see `cached_vectors.CachedEncoder`. None keeps none.
        base_url: the server of an `openai:` model; without it, OPENAI_BASE_URL.

    Raises:
        UsageError: no such encoder, or its files are not as they must be.
        MissingExtra: what it runs on is not installed.
    """
    kind, _, rest = name.partition(":")
    if base_url is not None and kind != "openai":
        raise UsageError(f"base_url is '{base_url}', but encoder '{name}' runs here; it belongs to openai:MODEL")
    if name == DEFAULT_ENCODER:
        from mnemic.storage.encoders.static import wordllama

        return wordllama()
    if kind == "model2vec":
        from mnemic.storage.encoders.static import model2vec

        return model2vec(rest)
    encoder = _slow(name, kind, rest, base_url)
    if cache is None:
        return encoder
    from mnemic.storage.encoders.cached_vectors import CachedEncoder

    return CachedEncoder(encoder, cache)


def _slow(name: str, kind: str, rest: str, base_url: str | None) -> Encoder:
    if kind == "openai":
        from mnemic.storage.encoders.endpoint import EndpointEncoder

        return EndpointEncoder(rest, base_url)
    if name == "minilm" or "/" in name or Path(name).is_dir():
        from mnemic.storage.encoders.transformer import TransformerEncoder

        return TransformerEncoder(name)
    raise UsageError(
        f"unknown encoder '{name}'{nearest(name, (DEFAULT_ENCODER, 'minilm', 'model2vec:NAME', 'openai:MODEL'))}"
        "; a sentence-transformers model is named OWNER/NAME or by its folder"
    )
