"""Builds of data out of items and stages that a crash, a full disk, an empty budget or Ctrl-C cannot undo.

Every item goes through all stages on one of several threads. What a stage made of it is appended to the stage's file
before the next stage begins, and whoever starts the same build again goes on from there. The replies of language
models are kept by their client's cache, so that an item that was lost half-way is made again without paying again.
"""

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnemic.errors import MnemicError, UsageError
from mnemic.llm.errors import LLMError, Stopped
from mnemic.llm.protocol import Metered
from mnemic.teaching.build_folder import BuildFolder, Manifest, written_aside
from mnemic.teaching.build_progress import BuildProgress, Meter, OnProgress
from mnemic.teaching.stage_log import StageLog, json_text
from mnemic.teaching.stages import Dropped, Outcome, Route, Stage
from mnemic.teaching.stop_signals import asked_to_stop_by_signal

__all__ = ["BuildProgress", "BuildStopped", "Dropped", "Interrupted", "Manifest", "Stage", "run_pipeline"]

_POLL_SECONDS = 0.05


class BuildStopped(MnemicError):
    """The build ended early and can go on later; the reason is its cause, where there is one."""


class Interrupted(BuildStopped):
    """The build was asked to stop."""


def run_pipeline(
    stages: Sequence[Stage],
    items: Iterable[Mapping[str, Any]],
    directory: str | Path,
    *,
    config: Mapping[str, Any],
    workers: int = 8,
    retry_failed: bool = False,
    force: bool = False,
    on_progress: OnProgress | None = None,
    name: str = "items",
    total: int | None = None,
    llm: Metered | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Manifest:
    """Take all items through all stages and write those that came through, in the order they came in.

    Args:
        items: JSON objects, each with an "id" of its own. An item that changed since an earlier run is made anew.
        directory: where the build is kept; see `build_folder`. One build at a time may use it.
        config: all that decides what the stages make of an item, as JSON and without secrets. The folder of a build
            with another configuration is refused.
        workers: items that are worked on at the same time.
        retry_failed: work on items again that failed in an earlier run. Those that failed because an endpoint could
            not be reached are always tried again.
        force: when the folder's build has another configuration, move that aside and build anew.
        name: of the result, `<name>.jsonl`.
        total: how many items there are, for progress, where they do not say themselves.
        llm: the client behind the stages, for progress and so that a stop need not wait for its pauses.
        should_stop: asked many times a second. SIGINT and SIGTERM also stop the build, where nobody else handles them.

    Raises:
        UsageError: stages, items, config or directory cannot be used.
        Interrupted: it was asked to stop.
        BuildStopped: no more calls can be made, because of the budget, for instance. What is done is kept.
    """
    if not stages or len({stage.name for stage in stages}) < len(stages):
        raise UsageError("stages: at least one is needed, and each must have a name of its own")
    if workers < 1:
        raise UsageError(f"workers is {workers}; it must be at least 1")
    folder = BuildFolder(Path(directory), name, config, [(stage.name, stage.version) for stage in stages], force)
    total = len(items) if isinstance(items, Sized) else total
    meter = Meter(folder.path / "progress.json", total, llm, on_progress)
    return _Build(folder, stages, meter, workers, retry_failed, llm).run(items, should_stop)


class _Build:
    def __init__(
        self,
        folder: BuildFolder,
        stages: Sequence[Stage],
        meter: Meter,
        workers: int,
        retry_failed: bool,
        llm: Metered | None,
    ) -> None:
        self.folder, self.meter, self.llm = folder, meter, llm
        try:
            self.logs = [StageLog(folder.log_path(number)) for number in range(len(stages))]
        except BaseException:
            folder.close()
            raise
        self.route = Route(stages, self.logs, retry_failed)
        self.outcomes: dict[str, Outcome | None] = {}  # in the order of the items
        self.counts: Counter[str] = Counter()
        self.kept = 0
        self.error: BaseException | None = None
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.queue: queue.Queue[tuple[str, str] | None] = queue.Queue(maxsize=2 * workers)
        self.threads = [threading.Thread(target=self._worker, daemon=True) for _ in range(workers)]

    def run(self, items: Iterable[Mapping[str, Any]], should_stop: Callable[[], bool] | None) -> Manifest:
        for thread in self.threads:
            thread.start()
        try:
            with asked_to_stop_by_signal() as is_signalled:
                asked = False
                for _ in self._feed(items):
                    asked = is_signalled() or (should_stop is not None and should_stop())
                    if asked or self.error is not None:
                        break
                self._end_work()
                for thread in self.threads:
                    while thread.is_alive():
                        thread.join(_POLL_SECONDS)
                        self._tick()
            manifest = self._finish(asked)
        except KeyboardInterrupt:
            # Nobody waits for threads that are still busy; they must neither lose their files nor meet another build.
            self._end_work()
            threading.Thread(target=self._close, daemon=True).start()
            raise
        except BaseException:
            self._end_work()
            self._close()
            raise
        self._close()
        return manifest

    def _feed(self, items: Iterable[Mapping[str, Any]]) -> Iterator[None]:
        """Hand out all items and wait until they are done, yielding many times a second."""
        for given in items:
            task = self._task(given)
            while not self._offered(task):
                self._tick()
                yield
            self._tick()
            yield
        self.meter.items = len(self.outcomes)
        for _ in self.threads:
            while not self._offered(None):
                self._tick()
                yield
        for thread in self.threads:
            while thread.is_alive():
                thread.join(_POLL_SECONDS)
                self._tick()
                yield

    def _task(self, given: Mapping[str, Any]) -> tuple[str, str]:
        item_id = given.get("id")
        if not isinstance(item_id, str) or not item_id:
            raise UsageError(f"item {len(self.outcomes)}: its id is {item_id!r}; it must be a text that is not empty")
        if item_id in self.outcomes:
            raise UsageError(f"items: the id '{item_id}' comes twice")
        try:
            task = item_id, json_text(dict(given))
        except (TypeError, ValueError) as wrong:
            raise UsageError(f"item '{item_id}' is no JSON: {wrong}") from None
        self.outcomes[item_id] = None
        return task

    def _offered(self, task: tuple[str, str] | None) -> bool:
        try:
            self.queue.put(task, timeout=_POLL_SECONDS)
        except queue.Full:
            return False
        return True

    def _tick(self, *, last: bool = False) -> None:
        with self.lock:
            counts, kept = self.counts.copy(), self.kept
        self.meter.tick(counts, kept, last=last)

    def _worker(self) -> None:
        while True:
            try:
                task = self.queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                if self.stop.is_set():
                    return
                continue
            if task is None or self.stop.is_set():
                return
            try:
                outcome = self.route.take(*task, self.stop.is_set)
            except BaseException as failed:
                is_told_to = isinstance(failed, Stopped) and self.stop.is_set()
                if not is_told_to:
                    with self.lock:
                        self.error = self.error or failed
                return
            if outcome is not None:
                with self.lock:
                    self.outcomes[task[0]] = outcome
                    self.counts[outcome.status] += 1
                    self.kept += not outcome.is_new

    def _end_work(self) -> None:
        """Nothing new is begun; what is on the wire is paid for and goes on."""
        if any(thread.is_alive() for thread in self.threads):
            self.stop.set()
            if self.llm is not None:
                self.llm.stop()

    def _finish(self, asked: bool) -> Manifest:
        is_complete = self.error is None and None not in self.outcomes.values() and not asked
        rejected = self._rejected()
        if is_complete:
            self._write_results(rejected)
        where = f"{self.counts.total()} of {self.meter.items or len(self.outcomes)} items are done"
        failed = sum(row["status"] == "failed" and not row["transient"] for row in rejected)
        and_retry = f" (and with retry_failed to try the {failed} that failed once more)" if failed else ""
        hint = f"{where} and kept in '{self.folder.path}'; run the same again to go on{and_retry}"
        reason = None if is_complete else f"{self.error or 'stopped when asked to'}"
        self._write_manifest(rejected, reason)
        self._tick(last=True)
        if isinstance(self.error, LLMError):
            raise BuildStopped(f"{self.error}; {hint}") from self.error
        if self.error is not None:
            raise self.error
        if not is_complete:
            raise Interrupted(f"stopped; {hint}")
        return self.folder.manifest

    def _rejected(self) -> list[dict[str, Any]]:
        """What is not in the result and why."""
        rows: list[dict[str, Any]] = []
        for item_id, outcome in self.outcomes.items():
            if outcome is not None and outcome.status != "ok":
                record = self.logs[outcome.stage].read(outcome.entry)
                said = {key: record[key] for key in ("status", "error", "reason", "transient") if key in record}
                rows.append({"id": item_id, "stage": self.route.stages[outcome.stage].name} | said)
        return rows

    def _write_results(self, rejected: list[dict[str, Any]]) -> None:
        with written_aside(self.folder.output) as file:
            for outcome in self.outcomes.values():
                if outcome is not None and outcome.status == "ok":
                    file.write(json_text(self.logs[-1].read(outcome.entry)["item"]) + "\n")
        with written_aside(self.folder.rejected) as file:
            for row in rejected:
                file.write(json_text(row) + "\n")

    def _write_manifest(self, rejected: list[dict[str, Any]], reason: str | None) -> None:
        counts = {status: self.counts[status] for status in ("ok", "dropped", "failed")}
        counts["tried_again_next_time"] = sum(row.get("transient", False) for row in rejected)
        self.folder.write_manifest(
            replace(
                self.folder.manifest,
                status="done" if reason is None else "stopped",
                items=len(self.outcomes),
                counts=counts,
                dropped=_counted(row["reason"].split(":")[0] for row in rejected if row["status"] == "dropped"),
                failed=_counted(row["error"] for row in rejected if row["status"] == "failed"),
                reason=reason,
                output=self.folder.output.name if reason is None else None,
            )
        )

    def _close(self) -> None:
        for thread in self.threads:
            thread.join()
        if self.llm is not None:
            self.llm.go_on()  # the client outlives the build that stopped it
        for log in self.logs:
            log.close()
        self.folder.close()


def _counted(names: Iterable[str]) -> dict[str, int]:
    counts = Counter(names)
    return {name: counts[name] for name in sorted(counts)}
