"""What a study measures: told as it goes, and kept, so that it is done once."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mnemic.training import provenance
from mnemic.training.grid import Event

__all__ = ["Measuring", "OnStudyEvent", "Told", "kept_or"]


@dataclass(frozen=True)
class Measuring:
    """What is measured now.

    Attributes:
        done, of: this is the `done`th of so many measurements.
    """

    what: str
    done: int
    of: int
    kind: Literal["measuring"] = "measuring"


OnStudyEvent = Callable[[Event | Measuring], None]


class Told:
    """Says what is measured next, on the way to so many measurements."""

    def __init__(self, on_event: OnStudyEvent | None, of: int) -> None:
        self.on_event, self.of, self.done = on_event, of, 0

    def __call__(self, what: str) -> None:
        self.done += 1
        self.still(what)

    def still(self, what: str) -> None:
        """More about the measurement that was told last."""
        if self.on_event is not None:
            self.on_event(Measuring(what, self.done, self.of))


def kept_or(
    path: Path,
    name: str,
    make: Callable[[], dict[str, Any]],
    measured_by: tuple[str, ...] = ("teaching", "studies"),
) -> dict[str, Any]:
    """What `make` gives, from the file where this code has left it before; one JSON object a line.

    Args:
        name: of what is measured, unique in the file.
        measured_by: folders of the package that measure, beside those that a run depends on: a change there has it
            measured anew.
    """
    code = f"{provenance.code_version()}-{provenance.digest_of(measured_by)}"
    for line in path.read_text("utf-8").split("\n") if path.exists() else []:
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
