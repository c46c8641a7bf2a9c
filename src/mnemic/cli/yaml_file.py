"""A YAML file of options, read with errors that name it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mnemic.errors import UsageError

__all__ = ["read_yaml"]


def read_yaml(path: Path, holds: str) -> dict[str, Any]:
    """The mapping in a file.

    Args:
        holds: what the file must hold, in words.

    Raises:
        UsageError: it cannot be read, or holds something else.
    """
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no file '{path}'") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read '{path}': {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{path} must hold {holds}")
    return data
