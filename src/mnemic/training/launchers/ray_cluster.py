"""Runs as tasks of a Ray cluster: one that is there, or one made on this machine for as long as the grid lasts.

Every run works in a clean process below one of Ray's. What it leaves comes back as a value, so no disk need be
shared; where one is, checkpoints stay on it, and a run whose machine died goes on where it was.
"""

import os
import pickle
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mnemic.errors import MissingExtra, MnemicError
from mnemic.training import provenance
from mnemic.training.launchers.base import PATIENCE_SECONDS, Job
from mnemic.training.launchers.sender import Sender
from mnemic.training.ray_task import Board, pack, run_in_child, unpack
from mnemic.training.runs import RunSpec, folder_name

__all__ = ["RayLauncher", "RayOptions"]

_ASK_SECONDS = 10.0
_STORE_BYTES = 256 << 20  # of the cluster made here, whose runs share the disk and send little


class RayOptions(BaseModel):
    """Where the cluster is, and what every run asks of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = Field(None, description="HOST:PORT, or auto; unset: a cluster on this machine, for this grid")
    cpus: float = Field(1, gt=0, description="cores, and threads of torch")
    gpus: float = Field(0, ge=0, description="accelerators; two runs share one at 0.5")
    shared: bool | None = Field(
        None, description="whether all machines see the grid's folder alike; unset: only where address is"
    )
    retries: int = Field(2, ge=0, description="new starts of a run whose process or machine died")


class RayLauncher:
    """Args:
    jobs: runs at a time; None: as many as the cluster has room for when the grid starts.
    directory: of the grid.

    Raises:
        MissingExtra: ray is not installed.
        MnemicError: no cluster answers at the address, or it has no room for a single run.
    """

    def __init__(self, options: RayOptions, jobs: int | None, directory: Path) -> None:
        try:
            self.ray: Any = import_module("ray")
        except ModuleNotFoundError as missing:
            raise MissingExtra("on ray", "ray") from missing
        self.options, self.retries = options, options.retries
        self.shared = options.address is None if options.shared is None else options.shared
        self.is_ours = self._connect()
        self.at_once = jobs or self._room()
        self.board = self.ray.remote(Board).options(num_cpus=0, max_restarts=-1).remote()
        asked = {"num_cpus": options.cpus, "num_gpus": options.gpus, "max_retries": 0, "max_calls": 0}
        self.work = self.ray.remote(**asked)(run_in_child)
        self.said: dict[str, dict[str, Any]] = {}
        self.stopping = False
        self.starts = 0

    def start(self, spec: RunSpec, folder: Path) -> Job:
        self.starts += 1
        key = f"{spec.id} {self.starts}"
        before = [] if spec.after is None else [folder.parent / folder_name(spec.after)]
        sent = None if self.shared else pack(folder.parent, [folder, *before])
        threads, device = max(1, int(self.options.cpus)), None if self.options.gpus else ""
        run = pickle.dumps((spec, threads, device, Sender.this().check))
        task = self.work.options(name=f"mnemic {spec.id}").remote(run, folder.absolute(), sent, key, self.board)
        return _RayJob(self, task, key, folder)

    def wait(self, jobs: Sequence[Job], seconds: float) -> None:
        self.ray.wait([job.task for job in jobs if isinstance(job, _RayJob)], timeout=seconds)
        with suppress(self.ray.exceptions.RayError):  # the board is being made again: it is asked again
            self.said = self.ray.get(self.board.read.remote(self.stopping), timeout=_ASK_SECONDS)

    def close(self) -> None:
        self.ray.kill(self.board)
        if self.is_ours:
            self.ray.shutdown()

    def _connect(self) -> bool:
        """Whether the connection, and the cluster where none was named, are this grid's own and end with it."""
        if self.ray.is_initialized():
            return False
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if self.options.address is None:
                cores = provenance.usable_cores()
                self.ray.init(
                    "local", num_cpus=cores, include_dashboard=False, object_store_memory=_STORE_BYTES, **quiet
                )
            else:
                self.ray.init(self.options.address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            at = self.options.address or "this machine"
            raise MnemicError(f"no Ray cluster at {at}: {str(error).strip().partition(chr(10))[0]}") from error
        return True

    def _room(self) -> int:
        there = self.ray.cluster_resources()
        asked = {"CPU": self.options.cpus, "GPU": self.options.gpus}
        room = min(int(there.get(name, 0) / count) for name, count in asked.items() if count)
        if room < 1:
            has = ", ".join(f"{there.get(name, 0):g} {name}" for name in asked)
            if self.is_ours:
                self.ray.shutdown()
            raise MnemicError(
                f"the Ray cluster has {has}, and a run asks for cpus={self.options.cpus:g}, gpus={self.options.gpus:g}"
            )
        return room


class _RayJob:
    def __init__(self, launcher: RayLauncher, task: Any, key: str, folder: Path) -> None:
        self.launcher, self.task, self.key, self.folder = launcher, task, key, folder
        self.is_collected = False
        self.death = ""

    def progress(self) -> dict[str, Any] | None:
        return self.launcher.said.get(self.key)

    def is_over(self) -> bool:
        if not self.is_collected:
            ready, _ = self.launcher.ray.wait([self.task], timeout=0)
            if ready:
                self._collect()
        return self.is_collected

    def why(self, progress: dict[str, Any]) -> str:
        return f"the run died at step {progress.get('step', 0)}: {self.death or 'it left no result'}"

    def stop(self) -> None:
        self.launcher.stopping = True
        if self.progress() is None:  # it waits for room, or has only just begun
            self.launcher.ray.cancel(self.task)

    def kill(self) -> None:
        self.launcher.ray.cancel(self.task, force=True)
        end = time.monotonic() + PATIENCE_SECONDS
        while not self.is_over() and time.monotonic() < end:
            time.sleep(0.05)

    def _collect(self) -> None:
        self.is_collected = True
        try:
            left, code = self.launcher.ray.get(self.task)
            unpack(left, self.folder.parent)
            self.death = f"its process ended with {code}"
        except self.launcher.ray.exceptions.RayError as error:
            self.death = " ".join(str(error).split())[:300]
