"""Runs in processes of this machine, each a clean one of its own: one that dies takes no other with it."""

import os
from collections.abc import Iterable, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from mnemic.errors import UsageError
from mnemic.training import provenance, room
from mnemic.training.launchers.base import PATIENCE_SECONDS, Job
from mnemic.training.launchers.sender import Sender
from mnemic.training.notes import read_json
from mnemic.training.processes import context
from mnemic.training.runs import RunSpec
from mnemic.training.worker import work

__all__ = ["LocalLauncher", "default_jobs", "threads_of_each"]


def default_jobs(specs: Iterable[RunSpec]) -> int:
    """One per accelerator where a run may use one, or else one per core."""
    devices = torch.cuda.device_count() if any(spec.training.device == "auto" for spec in specs) else 0
    return devices or provenance.usable_cores()


def threads_of_each(jobs: int) -> int:
    """Of torch in every one of so many processes: OMP_NUM_THREADS where it is set, or else its share of the cores."""
    said = os.environ.get("OMP_NUM_THREADS")
    if not said:
        return max(1, provenance.usable_cores() // jobs)
    threads = said.partition(",")[0].strip()  # a list has one number for each level of nesting
    if not threads.isdecimal() or int(threads) < 1:
        raise UsageError(f"OMP_NUM_THREADS is '{said}'; it must be a number of threads, 1 or more, or unset")
    return int(threads)


class LocalLauncher:
    """Args:
    jobs: processes at a time; None: see `default_jobs`.
    """

    retries = 0  # what kills a process here is mostly its own hunger for memory

    def __init__(self, jobs: int | None, specs: Iterable[RunSpec]) -> None:
        self.at_once = jobs or default_jobs(specs)
        self.threads = threads_of_each(self.at_once)
        self.slots: list[_LocalJob | None] = [None] * self.at_once

    def start(self, spec: RunSpec, folder: Path) -> Job:
        slot = next(number for number, job in enumerate(self.slots) if job is None or job.is_over())
        process = context().Process(  # type: ignore[attr-defined]
            target=work, args=(spec, folder, self.threads, _device_of(slot), Sender.this().check)
        )
        process.start()
        job = self.slots[slot] = _LocalJob(process, spec, folder)
        return job

    def wait(self, jobs: Sequence[Job], seconds: float) -> None:
        wait([job.process.sentinel for job in self.slots if job is not None and job in jobs], timeout=seconds)

    def close(self) -> None:
        self.slots = [None] * self.at_once


class _LocalJob:
    def __init__(self, process: BaseProcess, spec: RunSpec, folder: Path) -> None:
        self.process, self.spec, self.folder = process, spec, folder

    def progress(self) -> dict[str, Any] | None:
        return read_json(self.folder / "progress.json")

    def is_over(self) -> bool:
        return not self.process.is_alive()

    def why(self, progress: dict[str, Any]) -> str:
        code = self.process.exitcode
        step = progress.get("step", 0)
        if code == -9:
            said = f"the run was killed at step {step} (signal 9), as the kernel does when memory runs out"
            per_row = progress.get("bytes_per_row")
            if per_row:
                free = room.available_bytes(torch.device("cpu"))
                half = self.spec.training.batch_size // 2
                said += f"; {room.batch_that_fits(room.Need(0, per_row), free, half)}"
            return said
        ended = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        return f"the run ended {ended} at step {step}; see {self.folder}/log.txt"

    def stop(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()
        self.process.join(PATIENCE_SECONDS)


def _device_of(slot: int) -> str | None:
    """Which accelerator a slot's runs see: slots go round the devices."""
    devices = [d for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
    devices = devices or [str(index) for index in range(torch.cuda.device_count())]
    return devices[slot % len(devices)] if devices else None
