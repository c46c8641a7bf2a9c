"""Runs side by side in local processes: those that finish are kept, one that dies takes no other with it."""

import fcntl
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import torch

from mnemic.errors import MnemicError, UsageError
from mnemic.report.records import Record, append_record, read_records
from mnemic.training import provenance, room
from mnemic.training.processes import context
from mnemic.training.runs import RunSpec, failed_record, folder_name, is_current, now, results_path
from mnemic.training.worker import read_json, work

__all__ = ["Event", "default_jobs", "run_grid"]

_POLL_SECONDS = 0.25
_PATIENCE_SECONDS = 20.0  # for workers that were asked to stop, before they are killed


@dataclass(frozen=True)
class Event:
    """What happened to a run.

    Attributes:
        kind: "queued", "started", "progress", "done", "failed", or "kept" when it was finished earlier.
        spec: the run.
        progress: what `training.progress.Progress` holds, at "progress".
        record: at "done", "failed" and "kept".
    """

    kind: Literal["queued", "started", "progress", "done", "failed", "kept"]
    spec: RunSpec
    progress: dict[str, Any] | None = None
    record: Record | None = None


OnEvent = Callable[[Event], None]
FollowUp = Callable[[RunSpec, Record], Iterable[RunSpec]]


def run_grid(
    specs: Sequence[RunSpec],
    directory: Path,
    jobs: int | None = None,
    on_event: OnEvent | None = None,
    follow_up: FollowUp | None = None,
) -> list[Record]:
    """Run every spec, append its record to `directory/results.jsonl`, and return the records in order of finishing.

    Runs that are finished there, by the same code, are not repeated; unfinished ones go on from their checkpoints.
    A run that fails gives a record that says why. On KeyboardInterrupt the workers write a checkpoint and stop, and
    it is raised again.

    Args:
        jobs: processes at a time; None: one per accelerator, or per core where there is none.
        on_event: called in this process at every change.
        follow_up: which runs come next, given a run and its record; they go to the front of the queue.

    Raises:
        UsageError: the folder cannot be written, or another grid is at work in it.
    """
    with _alone_in(directory):
        return _Grid(directory, jobs or default_jobs(specs), on_event, follow_up).run(specs)


def default_jobs(specs: Iterable[RunSpec]) -> int:
    devices = torch.cuda.device_count() if any(spec.training.device == "auto" for spec in specs) else 0
    return devices or provenance.usable_cores()


@dataclass
class _Running:
    process: BaseProcess
    spec: RunSpec
    folder: Path
    started: str
    progress: dict[str, Any] | None = None


class _Grid:
    def __init__(self, directory: Path, jobs: int, on_event: OnEvent | None, follow_up: FollowUp | None) -> None:
        self.directory, self.jobs = directory, jobs
        self.tell: OnEvent = on_event or (lambda event: None)
        self.follow_up = follow_up
        self.context = context()
        self.threads = max(1, provenance.usable_cores() // jobs)
        self.queue: deque[RunSpec] = deque()
        self.running: dict[int, _Running] = {}  # by slot
        self.finished = {record.run: record for record in read_records(results_path(directory))}
        self.seen: set[str] = set()
        self.records: list[Record] = []

    def run(self, specs: Sequence[RunSpec]) -> list[Record]:
        self._enqueue(specs)
        try:
            while self.queue or self.running:
                while self.queue and len(self.running) < self.jobs:
                    self._start(self.queue.popleft())
                wait([r.process.sentinel for r in self.running.values()], timeout=_POLL_SECONDS)
                self._look()
        except BaseException:
            self._stop()
            raise
        return self.records

    def _enqueue(self, specs: Iterable[RunSpec], *, at_front: bool = False) -> None:
        """Put runs into the queue, once each; those that are finished are reported at once."""
        fresh = []
        for spec in specs:
            if spec.id not in self.seen:
                self.seen.add(spec.id)
                record = self._finished_before(spec)
                if record is not None:
                    self._keep(Event("kept", spec, record=record))
                else:
                    self.tell(Event("queued", spec))
                    fresh.append(spec)
        self.queue.extendleft(reversed(fresh)) if at_front else self.queue.extend(fresh)

    def _finished_before(self, spec: RunSpec) -> Record | None:
        record = self.finished.get(spec.id)
        if record is not None and is_current(record, spec):
            return record
        record = self._left_behind(spec)
        if record is not None:
            append_record(results_path(self.directory), record)
        return record

    def _left_behind(self, spec: RunSpec) -> Record | None:
        """The result in a worker's folder; when it was written there may have been nobody left to collect it."""
        there = read_records(results_path(self._folder(spec)))
        return next((record for record in there if is_current(record, spec)), None)

    def _keep(self, event: Event) -> None:
        assert event.record is not None
        self.records.append(event.record)
        self.tell(event)
        if self.follow_up is not None:
            self._enqueue(self.follow_up(event.spec, event.record), at_front=True)

    def _folder(self, spec: RunSpec) -> Path:
        return self.directory / "runs" / folder_name(spec)

    def _start(self, spec: RunSpec) -> None:
        slot = next(slot for slot in range(self.jobs) if slot not in self.running)
        folder = self._folder(spec)
        for name in ("progress.json", "failure.json"):
            (folder / name).unlink(missing_ok=True)
        process = self.context.Process(  # type: ignore[attr-defined]
            target=work, args=(spec, folder, self.threads, _device_of(slot), provenance.code_version())
        )
        process.start()
        self.running[slot] = _Running(process, spec, folder, now())
        self.tell(Event("started", spec))

    def _look(self) -> None:
        for slot, running in list(self.running.items()):
            progress = read_json(running.folder / "progress.json")
            if progress is not None and progress != running.progress:
                running.progress = progress
                self.tell(Event("progress", running.spec, progress=progress))
            if not running.process.is_alive():
                running.process.join()
                del self.running[slot]
                self._collect(running)

    def _collect(self, running: _Running) -> None:
        record = self._left_behind(running.spec)
        if record is None:
            record = failed_record(running.spec, _why(running), running.started)
        append_record(results_path(self.directory), record)
        self._keep(Event("done" if record.status == "done" else "failed", running.spec, record=record))

    def _stop(self) -> None:
        """Ask the workers to write a checkpoint and end; what is finished by then is kept."""
        self.follow_up, self.queue = None, deque()
        for running in self.running.values():
            running.process.terminate()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        try:
            for running in self.running.values():
                running.process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for running in self.running.values():
                running.process.kill()
                running.process.join()
                record = self._left_behind(running.spec)
                if record is not None:
                    append_record(results_path(self.directory), record)
                    self._keep(Event("done", running.spec, record=record))


def _why(running: _Running) -> str:
    """Why a worker ended without a record."""
    failure = read_json(running.folder / "failure.json")
    if failure is not None:
        return str(failure["error"])
    code = running.process.exitcode
    step = (running.progress or {}).get("step", 0)
    if code == -9:
        said = f"the run was killed at step {step} (signal 9), as the kernel does when memory runs out"
        per_row = (running.progress or {}).get("bytes_per_row")
        if per_row:
            fits = room.batch_that_fits(
                room.Need(0, per_row), room.available_bytes(torch.device("cpu")), running.spec.training.batch_size // 2
            )
            said += f"; {fits}"
        return said
    ended = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
    return f"the run ended {ended} at step {step}; see {running.folder}/log.txt"


def _device_of(slot: int) -> str | None:
    """Which accelerator a slot's runs see: slots go round the devices."""
    devices = [d for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
    devices = devices or [str(index) for index in range(torch.cuda.device_count())]
    return devices[slot % len(devices)] if devices else None


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / ".lock").open("w")
    except OSError as error:
        raise UsageError(f"cannot write to the folder '{directory}': {error.strerror}; name another one") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as busy:
            raise MnemicError(
                f"another mnemic is at work in '{directory}'; wait for it, or name another folder"
            ) from busy
        yield
