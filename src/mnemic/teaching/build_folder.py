"""The folder of a build: who may write to it, what was built there, and with which configuration.

manifest.json     configuration, its hash, versions and counts
<n>-<stage>.jsonl what each stage made of each item
progress.json     where the build is
<name>.jsonl      the result, when all is done; <name>.rejected.jsonl what is not in it, and why
"""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from mnemic.errors import MnemicError, UsageError
from mnemic.version import __version__

__all__ = ["BuildFolder", "Manifest", "written_aside"]

SCHEMA = "mnemic.build/1"


@dataclass(frozen=True)
class Manifest:
    """What a build is and how far it came.

    Attributes:
        status: "running" also after a crash: nobody was left to say otherwise.
        config_hash: SHA-256 of configuration, stages and their versions.
        items: how many were seen.
        counts: items by outcome: ok, dropped, failed, and those of the failed that the next run tries again.
        dropped, failed: how many by reason, and by kind of error.
    """

    status: Literal["running", "stopped", "done"]
    config: Mapping[str, Any]
    config_hash: str
    stages: tuple[tuple[str, int], ...]
    items: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    reason: str | None = None
    output: str | None = None
    version: str = __version__
    schema: str = SCHEMA


class BuildFolder:
    """Opens the folder for one build and keeps others out of it.

    Raises:
        UsageError: another build writes there, it holds one with another configuration, or it cannot be written.
    """

    def __init__(
        self, path: Path, name: str, config: Mapping[str, Any], stages: Sequence[tuple[str, int]], force: bool
    ) -> None:
        self.path, self.name = path, name
        config_hash = _hash(config, stages)
        self.manifest = Manifest("running", config, config_hash, tuple(stages))
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as failed:
            raise UsageError(f"cannot write to the folder '{path}': {failed.strerror}; name another one") from failed
        try:
            self._take_lock()
            self._remove_unfinished()
            difference = self._difference(self.manifest)
            if difference is not None and not force:
                raise UsageError(f"'{path}' {difference}; name another folder, or use force to build anew")
            if difference is not None:
                self._set_aside()
            self.write_manifest(self.manifest)
        except BaseException:
            os.close(self._lock)
            raise

    def log_path(self, number: int) -> Path:
        return self.path / f"{number + 1}-{self.manifest.stages[number][0]}.jsonl"

    @property
    def output(self) -> Path:
        return self.path / f"{self.name}.jsonl"

    @property
    def rejected(self) -> Path:
        return self.path / f"{self.name}.rejected.jsonl"

    def write_manifest(self, manifest: Manifest) -> None:
        self.manifest = manifest
        with written_aside(self.path / "manifest.json") as file:
            json.dump(asdict(manifest), file, ensure_ascii=True, indent=1)

    def close(self) -> None:
        os.close(self._lock)

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip() or "unknown"
            raise UsageError(f"another build (process {holder}) is writing to '{self.path}'") from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def _remove_unfinished(self) -> None:
        """What a killed writer was writing aside."""
        for name in ("manifest.json", "progress.json", self.output.name, self.rejected.name):
            for aside in self.path.glob(f".{name}.*"):
                aside.unlink()

    def _stage_files(self) -> list[Path]:
        return sorted(p for p in self.path.glob("*.jsonl") if p.name.split("-")[0].isdigit())

    def _difference(self, ours: Manifest) -> str | None:
        """How the build that lies here differs from ours, None when it does not or there is none."""
        path = self.path / "manifest.json"
        if not path.exists():
            return "holds stages of a build whose manifest.json is gone" if self._stage_files() else None
        try:
            theirs = json.loads(path.read_text("utf-8"))
            if theirs["config_hash"] == ours.config_hash:
                return None
            stages = dict(theirs["stages"])
            config = dict(theirs["config"])
        except (OSError, ValueError, LookupError, TypeError) as wrong:
            return f"holds a build whose manifest.json cannot be read ({wrong})"
        keys = sorted(key for key in {*config, *ours.config} if config.get(key) != _plain(ours.config).get(key))
        if keys:
            return f"holds a build with another configuration ({', '.join(keys)})"
        changed = [name for name, version in ours.stages if stages.get(name) != version]
        return f"holds a build with other stages ({', '.join(changed or [name for name, _ in theirs['stages']])})"

    def _set_aside(self) -> None:
        """What another configuration has made cost something too: it is moved, not removed."""
        numbers = [int(p.name.split("-")[1]) for p in self.path.glob("superseded-*") if p.name.split("-")[1].isdigit()]
        aside = self.path / f"superseded-{max(numbers, default=0) + 1}"
        aside.mkdir()
        others = [self.path / "manifest.json", self.path / "progress.json", self.output, self.rejected]
        for file in [*self._stage_files(), *others]:
            if file.exists():
                file.rename(aside / file.name)


@contextmanager
def written_aside(path: Path) -> Iterator[IO[str]]:
    """A file that takes the place of `path` once it is whole and on disk.

    Raises:
        MnemicError: it cannot be written; what was at `path` still is.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        _sync_folder(path.parent)
    except OSError as failed:
        aside.unlink(missing_ok=True)
        why = "the disk is full" if failed.errno in (errno.ENOSPC, errno.EDQUOT) else failed.strerror
        raise MnemicError(f"cannot write {path}: {why}; what was there before is kept") from failed
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _sync_folder(path: Path) -> None:
    """Names of new files are on disk, too."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """As it comes back from a file: tuples are lists there, and keys text."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(config), allow_nan=False))
    except (TypeError, ValueError) as wrong:
        raise UsageError(f"config must be JSON: {wrong}") from None
    return plain


def _hash(config: Mapping[str, Any], stages: Sequence[tuple[str, int]]) -> str:
    whole = {"schema": SCHEMA, "config": _plain(config), "stages": [list(stage) for stage in stages]}
    return hashlib.sha256(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
