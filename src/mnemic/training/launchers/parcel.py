"""Folders of runs as one value, for machines that share no disk."""

from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["Parcel", "pack", "unpack"]

Parcel = dict[str, bytes]


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
