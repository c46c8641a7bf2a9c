"""JSON and JSON lines, gzipped or not, with the file and the line named where something is wrong."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

from mnemic.errors import UsageError

__all__ = ["find", "read_json", "read_lines", "take"]

T = TypeVar("T")


def find(folder: Path, *names: str) -> Path | None:
    """The first file of these names, or of these names and .gz."""
    both = (folder / f"{name}{suffix}" for name in names for suffix in ("", ".gz"))
    return next((path for path in both if path.is_file()), None)


def read_json(path: Path) -> Any:
    """
    Raises:
        UsageError: no such file, or not UTF-8 JSON.
    """
    try:
        return json.loads(_text(path))
    except (ValueError, RecursionError) as wrong:
        raise UsageError(f"{path} is not JSON: {wrong}") from None


def read_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each line is, and the object on it; empty lines are left out."""
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as wrong:
            raise UsageError(f"{path}:{number} is not JSON: {wrong}") from None
        if not isinstance(value, dict):
            raise UsageError(f"{path}:{number} is {type(value).__name__}; each line must be an object")
        yield f"{path}:{number}", value


def take(item: Any, key: str, kind: type[T], where: str, default: T | None = None) -> T:
    """The value of a key, which must be there (unless there is a default) and of this kind."""
    value = item.get(key) if isinstance(item, dict) else None
    if value is None and default is not None:
        return default
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        return cast(T, str(value))  # ids and answers are often written as numbers
    if not isinstance(value, kind):
        found = "nothing" if value is None else type(value).__name__
        raise UsageError(f"{where}: '{key}' is {found}; must be {kind.__name__}")
    return value


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise UsageError(f"{path} is not UTF-8 text: {wrong}") from None
    except (OSError, EOFError, zlib.error) as wrong:
        raise UsageError(f"cannot read '{path}': {getattr(wrong, 'strerror', None) or wrong}") from None
