"""What a study measures on models that are trained: told as it goes, and kept, so that it is done once."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnemic.training import provenance
from mnemic.training.grid import Event, OnEvent
from mnemic.training.runs import RunSpec

__all__ = ["Told", "kept_or"]

_MEASURED_BY = ("teaching", "studies")


class Told:
    """Says what is measured next, on the way to so many measurements."""

    def __init__(self, on_event: OnEvent | None, of: int) -> None:
        self.on_event, self.of, self.done = on_event, of, 0

    def __call__(self, spec: RunSpec, what: str) -> None:
        self.done += 1
        if self.on_event is not None:
            progress = {"what": what, "done": self.done, "of": self.of}
            self.on_event(Event("measuring", spec, progress=progress))


def kept_or(path: Path, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` gives, from the file where this code has left it before; one JSON object a line.

    `teaching` and `studies` measure, though no run depends on them: a change there has it measured anew.

    Args:
        name: of what is measured, unique in the file.
    """
    code = f"{provenance.code_version()}-{provenance.digest_of(_MEASURED_BY)}"
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        try:
            held = json.loads(line)
        except ValueError:  # a writer was killed in the middle of it
            continue
        if held["name"] == name and held["code"] == code:
            found: dict[str, Any] = held["found"]
            return found
    made = make()
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" * _is_torn(path) + json.dumps({"name": name, "code": code, "found": made}) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return made


def _is_torn(path: Path) -> bool:
    whole = path.read_bytes()
    return bool(whole) and not whole.endswith(b"\n")
