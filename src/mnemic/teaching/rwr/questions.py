"""Questions on a context, from a file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnemic.errors import UsageError

__all__ = ["Question", "read_questions", "read_text"]


@dataclass(frozen=True)
class Question:
    id: str
    text: str


def read_questions(path: Path) -> list[Question]:
    """Questions of a file: .jsonl with one object a line, anything else one question a line.

    An object has "query" or "question", and maybe an "id".

    Raises:
        UsageError: the file cannot be read, a line is none of this, an id comes twice, or there is no question.
    """
    found: list[Question] = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            one = (
                _of_object(line, where, str(number)) if path.suffix == ".jsonl" else Question(str(number), line.strip())
            )
            if any(one.id == other.id for other in found):
                raise UsageError(f"{where}: the id '{one.id}' came before")
            found.append(one)
    if not found:
        raise UsageError(f"'{path}' holds no question")
    return found


def read_text(path: Path) -> str:
    """
    Raises:
        UsageError: no such file, or none in UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"there is no file '{path}'") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read '{path}': {error}") from None


def _of_object(line: str, where: str, number: str) -> Question:
    try:
        read: Any = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{where} is no JSON: {error}") from None
    text = (read.get("query") or read.get("question")) if isinstance(read, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f'{where} has no question; want an object such as {{"query": "Who ...?"}}')
    return Question(str(read.get("id", number)), text.strip())
