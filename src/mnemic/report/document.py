"""One page in one file that needs no network, no script and no other file: what every report of mnemic is."""

from __future__ import annotations

import os
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

from mnemic.errors import MnemicError
from mnemic.report.markup import Html, join, tag

__all__ = ["document", "write_document"]


def document(title: str, header: Html, *sections: Any, source: str = "results.jsonl") -> Html:
    """The page.

    Args:
        header: the <header>.
        sections: of its main part; None and lists are allowed.
        source: the file that it was made from.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(files("mnemic.report").joinpath("report.css").read_text("utf-8"))),
    )
    made = f"Made by mnemic from {source}. This page loads nothing and runs no script."
    body = tag("body", header, tag("main", *sections), tag("footer", tag("p", made)))
    return join(Html("<!doctype html>\n"), tag("html", head, body, lang="en"))


def write_document(text: Html, path: Path, source: str = "results.jsonl") -> None:
    """Write a page; the file appears whole or not at all, and an older one stays until then.

    Raises:
        MnemicError: the folder cannot be written, or the disk is full; the message says that `source` holds it all.
    """
    try:
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(partial, 0o644)
            os.replace(partial, path)
        except BaseException:
            os.unlink(partial)
            raise
    except OSError as error:
        raise MnemicError(f"cannot write {path}: {error.strerror}; the results are in {source}") from error
