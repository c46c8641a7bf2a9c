"""Small JSON files by which processes tell each other where they are. Imports nothing heavy."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["read_json", "write_json"]


def read_json(path: Path) -> dict[str, Any] | None:
    """What was written, None when it is not there."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Whole or not at all; a full disk is for the checkpoint and the record to report."""
    aside = path.with_suffix(".tmp")
    with suppress(OSError):
        aside.write_text(json.dumps(data))
        aside.replace(path)
