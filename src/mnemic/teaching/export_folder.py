"""A taught model as a folder that anybody can load, replaced only when the new one is whole."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnemic.errors import MnemicError, UsageError
from mnemic.teaching.adapters import merged

__all__ = ["replace_model", "save_model"]


def save_model(model: Any, tokenizer: Any, target: Path, write_about: Callable[[Path], None]) -> None:
    """Write a model, adapters merged, and its tokenizer; it ends texts where the taught ones ended.

    Args:
        write_about: adds the recipe's own file to the folder.

    Raises:
        UsageError, MnemicError: see `replace_model`.
    """

    def fill(aside: Path) -> None:
        plain = merged(model)
        _end_as_taught(plain, tokenizer)
        plain.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        write_about(aside)

    replace_model(target, fill)


def replace_model(target: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write a folder, and put it where `target` is, in the place of a model that is there.

    Raises:
        UsageError: there is something else than a model.
        MnemicError: it cannot be written; what was there is untouched.
    """
    aside, old = target.with_name(f".{target.name}.{os.getpid()}"), target.with_name(f".{target.name}.old")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not (
            target.is_dir() and (not any(target.iterdir()) or (target / "config.json").exists())
        ):
            raise UsageError(f"'{target}' holds something else than a model; name another folder")
        aside.mkdir()
        fill(aside)
        _sync(aside)
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        aside.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise MnemicError(f"cannot write '{target}': {error.strerror or error}; what was there is kept") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _end_as_taught(model: Any, tokenizer: Any) -> None:
    """Let generation end where the taught texts did, beside where the model ended before."""
    settings = getattr(model, "generation_config", None)
    if settings is None or tokenizer.eos_token_id is None:
        return
    before = settings.eos_token_id
    known = [] if before is None else list(before) if isinstance(before, (list, tuple)) else [before]
    if tokenizer.eos_token_id not in known:
        settings.eos_token_id = [*known, tokenizer.eos_token_id] if known else tokenizer.eos_token_id


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
