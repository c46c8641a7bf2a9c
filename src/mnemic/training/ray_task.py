"""What works on the machines of a Ray cluster. Imports no torch: that is for the run, in a process below.

Ray's own process lives on from run to run, and so does the fork server that it starts, which imports torch once.
"""

import pickle
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from mnemic.training.notes import read_json
from mnemic.training.processes import context

__all__ = ["Board", "Parcel", "pack", "run_in_child", "unpack"]

_TALK_SECONDS = 0.25  # between two words of a run to its grid
_ASK_SECONDS = 10.0

Parcel = dict[str, bytes]
"""Files by their path: folders of runs as one value, for machines that share no disk."""


class Board:
    """An actor on which runs write where they are, and read whether they are to stop."""

    def __init__(self) -> None:
        self.said: dict[str, dict[str, Any]] = {}
        self.stopping = False

    def exchange(self, key: str, progress: dict[str, Any] | None) -> bool:
        if progress is not None:
            self.said[key] = progress
        return self.stopping

    def read(self, stopping: bool) -> dict[str, dict[str, Any]]:
        self.stopping = stopping
        return self.said


def run_in_child(run: bytes, folder: Path, sent: Parcel | None, key: str, board: Any) -> tuple[Parcel, int]:
    """What the grid is to find in the run's folder, and the exit code of the run's process.

    Args:
        run: pickled; spec, threads, visible device and check of `worker.work`.
        sent: what the folder holds already; None: the grid's folder is seen from here.
        key: of the run on the board.
    """
    with tempfile.TemporaryDirectory(prefix="mnemic-") as scratch:
        if sent is not None:
            unpack(sent, Path(scratch))
            folder = Path(scratch) / folder.name
        code = _supervised(run, folder, key, board)
        return ({} if sent is None else pack(Path(scratch), [folder])), code


def pack(root: Path, folders: Iterable[Path]) -> Parcel:
    """All files of these folders, by their path below `root`; a folder that is not there is empty."""
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


def unpack(parcel: Mapping[str, bytes], root: Path) -> None:
    """Write the files below `root`; results last, for where they are, everything is."""
    for name in sorted(parcel, key=lambda name: name.endswith("results.jsonl")):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(parcel[name])


def _supervised(run: bytes, folder: Path, key: str, board: Any) -> int:
    ray = import_module("ray")
    process = context().Process(target=_work, args=(run, folder))  # type: ignore[attr-defined]
    process.start()
    try:
        while process.is_alive():
            with suppress(ray.exceptions.RayError):  # the board is being made again
                said = read_json(folder / "progress.json")
                if ray.get(board.exchange.remote(key, said), timeout=_ASK_SECONDS):
                    process.terminate()
            process.join(_TALK_SECONDS)
    finally:
        process.kill()
        process.join()
    return int(process.exitcode)


def _work(run: bytes, folder: Path) -> None:
    from mnemic.training.worker import work

    spec, threads, device, check = pickle.loads(run)
    work(spec, folder, threads, device, check)
