"""A JSON file that is whole or not there."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnemic.errors import MnemicError

__all__ = ["write_json"]


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace a file; numbers that JSON has no word for are refused by `json`, not written.

    Raises:
        MnemicError: it cannot be written; what was there is untouched.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise MnemicError(f"cannot write {path}: {error.strerror}; what was there is untouched") from error
    finally:
        aside.unlink(missing_ok=True)
