"""Token ids that were made once and are kept on the disk, beside a little JSON about them."""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import MnemicError, UsageError

__all__ = ["digest_of_file", "read_tokens", "rules_of", "write_tokens"]

_ABOUT = "about"


def digest_of_file(path: Path) -> str:
    """
    Raises:
        UsageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror}") from None


def rules_of(tokenizer: Any) -> str:
    """All that decides what a tokenizer makes of a text."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return str(backend.to_str()) if backend is not None else json.dumps(sorted(tokenizer.get_vocab().items()))


def write_tokens(path: Path, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> None:
    """
    Raises:
        MnemicError: they cannot be written; what was there is untouched.
    """
    aside = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    said = np.frombuffer(json.dumps(about).encode(), np.uint8)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            np.savez(file, **{_ABOUT: said, **arrays})  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise MnemicError(f"cannot keep the tokens in '{path}': {error.strerror}; name another folder") from error
    finally:
        aside.unlink(missing_ok=True)


def read_tokens(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
    """None where nothing is kept or it is damaged (the archive has checksums): then it is made again."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
            about: dict[str, Any] = json.loads(arrays.pop(_ABOUT).tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return arrays, about
