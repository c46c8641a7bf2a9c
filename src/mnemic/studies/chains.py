"""Runs that start from each other's weights, trained side by side as far as they may be."""

from collections.abc import Iterable
from pathlib import Path

from mnemic.report.records import Record
from mnemic.training.grid import OnEvent, run_grid
from mnemic.training.runs import RunSpec, folder_name

__all__ = ["model_folder", "train_chains"]


def train_chains(
    specs: Iterable[RunSpec], directory: Path, on_event: OnEvent | None, jobs: int | None
) -> dict[str, Record]:
    """Train every run after the one that it starts from, which is trained too, and return the records by run.

    Where a run failed, those that start from it are not there.
    """
    every: dict[str, RunSpec] = {}
    for spec in specs:
        link: RunSpec | None = spec
        while link is not None:
            every.setdefault(link.id, link)
            link = link.after

    def follow_up(spec: RunSpec, record: Record) -> list[RunSpec]:
        if record.status != "done":
            return []
        return [later for later in every.values() if later.after is not None and later.after.id == spec.id]

    first = [spec for spec in every.values() if spec.after is None]
    return {record.run: record for record in run_grid(first, directory, jobs, on_event, follow_up)}


def model_folder(spec: RunSpec, directory: Path) -> Path:
    """Where a finished run has left its model."""
    return directory / "runs" / folder_name(spec) / "model"
