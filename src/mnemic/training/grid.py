"""Runs side by side, here or elsewhere: those that finish are kept, one that dies takes no other with it."""

import fcntl
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mnemic.errors import MnemicError, UsageError
from mnemic.report.records import Record, append_record, read_records
from mnemic.training.launchers import Job, Launcher, open_launcher
from mnemic.training.launchers.base import PATIENCE_SECONDS
from mnemic.training.notes import read_json
from mnemic.training.runs import RunSpec, failed_record, folder_name, is_current, now, results_path

__all__ = ["Event", "OnEvent", "run_grid"]

_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Event:
    """What happened to a run.

    Attributes:
        kind: "queued", "started", "progress", "retried" when it died and is put back into the queue, "done", "failed",
            or "kept" when it was finished earlier.
        spec: the run.
        progress: what `training.progress.Progress` holds, at "progress".
        record: at "done", "failed" and "kept".
        why: at "retried", how it died.
    """

    kind: Literal["queued", "started", "progress", "retried", "done", "failed", "kept"]
    spec: RunSpec
    progress: dict[str, Any] | None = None
    record: Record | None = None
    why: str = ""


OnEvent = Callable[[Event], None]
FollowUp = Callable[[RunSpec, Record], Iterable[RunSpec]]


def run_grid(
    specs: Sequence[RunSpec],
    directory: Path,
    jobs: int | None = None,
    on_event: OnEvent | None = None,
    follow_up: FollowUp | None = None,
    *,
    on: str = "local",
) -> list[Record]:
    """Run every spec, append its record to `directory/results.jsonl`, and return the records in order of finishing.

    Runs that are finished there, by the same code, are not repeated; unfinished ones go on from their checkpoints.
    A run that fails gives a record that says why. On KeyboardInterrupt the workers write a checkpoint and stop, and
    it is raised again.

    Args:
        jobs: runs at a time; None: as many as `on` has room for; here one per accelerator, or per core without one.
        on_event: called in this process at every change.
        follow_up: which runs come next, given a run and its record; they go to the front of the queue.
        on: where they run, see `launchers.open_launcher`.

    Raises:
        UsageError: the folder cannot be written, or `on` describes no place to run on.
        MnemicError: another grid is at work in the folder, or `on` cannot be reached.
    """
    with _alone_in(directory):
        launcher = open_launcher(on, directory, jobs, specs)
        try:
            return _Grid(directory, launcher, on_event, follow_up).run(specs)
        finally:
            launcher.close()


@dataclass
class _Running:
    job: Job
    spec: RunSpec
    folder: Path
    started: str
    progress: dict[str, Any] | None = None


class _Grid:
    def __init__(
        self, directory: Path, launcher: Launcher, on_event: OnEvent | None, follow_up: FollowUp | None
    ) -> None:
        self.directory, self.launcher = directory, launcher
        self.tell: OnEvent = on_event or (lambda event: None)
        self.follow_up = follow_up
        self.queue: deque[RunSpec] = deque()
        self.running: list[_Running] = []
        self.finished = {record.run: record for record in read_records(results_path(directory))}
        self.seen: set[str] = set()
        self.deaths: dict[str, int] = {}  # by run
        self.records: list[Record] = []

    def run(self, specs: Sequence[RunSpec]) -> list[Record]:
        self._enqueue(specs)
        try:
            while self.queue or self.running:
                while self.queue and len(self.running) < self.launcher.at_once:
                    self._start(self.queue.popleft())
                self.launcher.wait([running.job for running in self.running], _POLL_SECONDS)
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
        """The result in a run's folder; when it was written there may have been nobody left to collect it."""
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
        folder = self._folder(spec)
        for name in ("progress.json", "failure.json"):
            (folder / name).unlink(missing_ok=True)
        self.running.append(_Running(self.launcher.start(spec, folder), spec, folder, now()))
        self.tell(Event("started", spec))

    def _look(self) -> None:
        for running in list(self.running):
            progress = running.job.progress()
            if progress is not None and progress != running.progress:
                running.progress = progress
                self.tell(Event("progress", running.spec, progress=progress))
            if running.job.is_over():
                self.running.remove(running)
                self._collect(running)

    def _collect(self, running: _Running) -> None:
        spec = running.spec
        record = self._left_behind(spec)
        if record is None:
            failure = read_json(running.folder / "failure.json")
            why = str(failure["error"]) if failure is not None else running.job.why(running.progress or {})
            deaths = self.deaths[spec.id] = self.deaths.get(spec.id, 0) + 1
            if failure is None and deaths <= self.launcher.retries:
                self.queue.appendleft(spec)
                self.tell(Event("retried", spec, why=why))
                return
            record = failed_record(spec, why if deaths == 1 else f"{why} (start {deaths})", running.started)
        append_record(results_path(self.directory), record)
        self._keep(Event("done" if record.status == "done" else "failed", spec, record=record))

    def _stop(self) -> None:
        """Ask the runs to write a checkpoint and end; what is finished by then is kept."""
        self.follow_up, self.queue = None, deque()
        for running in self.running:
            running.job.stop()
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while time.monotonic() < deadline and (left := [r.job for r in self.running if not r.job.is_over()]):
                self.launcher.wait(left, _POLL_SECONDS)
        finally:
            for running in self.running:
                if not running.job.is_over():
                    running.job.kill()
                record = self._left_behind(running.spec)
                if record is not None:
                    append_record(results_path(self.directory), record)
                    self._keep(Event("done", running.spec, record=record))


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
