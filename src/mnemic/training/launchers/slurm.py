"""Runs as jobs of Slurm, submitted by submitit. Slurm's machines and this one must see the grid's folder alike."""

import threading
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from mnemic.errors import MissingExtra, MnemicError
from mnemic.training.launchers.base import PATIENCE_SECONDS, Job
from mnemic.training.launchers.sender import Sender
from mnemic.training.notes import read_json
from mnemic.training.progress import Progress
from mnemic.training.runs import RunSpec
from mnemic.training.worker import attempt, write_progress

__all__ = ["SlurmLauncher", "SlurmOptions"]

_LOOK_SECONDS = 1.0  # between two looks of a run at whether it is to stop
_STOP = "stop"
_MANY = 1000


class SlurmOptions(BaseModel):
    """What every run asks of Slurm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partition: str | None = Field(None, description="of Slurm; unset: its default")
    cpus: int = Field(1, ge=1, description="cores, and threads of torch")
    gpus: int = Field(0, ge=0, description="accelerators")
    memory: float | None = Field(None, gt=0, description="GB; unset: Slurm's default")
    minutes: int = Field(240, ge=1, description="time limit; a run that meets it goes on in a job of its own")
    account: str | None = Field(None, description="that pays")
    qos: str | None = Field(None, description="quality of service")
    retries: int = Field(2, ge=0, description="new starts of a run that died without a word")
    executor: Literal["slurm", "local"] = Field("slurm", description="local: processes here, to try it without Slurm")


class SlurmLauncher:
    """Args:
    jobs: jobs at a time, waiting ones included; None: all.
    directory: of the grid; submitit's own files lie in its `slurm/`.

    Raises:
        MissingExtra: submitit is not installed.
        MnemicError: there is no Slurm here.
    """

    def __init__(self, options: SlurmOptions, jobs: int | None, directory: Path) -> None:
        try:
            submitit = import_module("submitit")
        except ModuleNotFoundError as missing:
            raise MissingExtra("on slurm", "slurm") from missing
        self.at_once, self.retries = jobs or _MANY, options.retries
        self.cpus = options.cpus
        try:
            self.executor = submitit.AutoExecutor(folder=directory.absolute() / "slurm", cluster=options.executor)
        except RuntimeError as error:
            raise MnemicError(
                f"there is no Slurm on this machine ({error}); run it where sbatch is, or leave --on out"
            ) from error
        of_slurm = {"partition": options.partition, "account": options.account, "qos": options.qos}
        self.executor.update_parameters(
            name="mnemic",
            timeout_min=options.minutes,
            cpus_per_task=options.cpus,
            gpus_per_node=options.gpus,
            **({} if options.memory is None else {"mem_gb": options.memory}),
            **{f"slurm_{name}": value for name, value in of_slurm.items() if value is not None},
        )

    def start(self, spec: RunSpec, folder: Path) -> Job:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _STOP).unlink(missing_ok=True)
        begun = self.executor.submit(_Run(spec, folder.absolute(), self.cpus, Sender.this()))
        return _SlurmJob(begun, folder)

    def wait(self, jobs: Sequence[Job], seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not any(job.is_over() for job in jobs):
            time.sleep(min(0.05, seconds))

    def close(self) -> None:
        pass


class _Run:
    """What a job calls; submitit pickles it, and asks `checkpoint` what to submit when the time limit is near."""

    def __init__(self, spec: RunSpec, folder: Path, threads: int, sender: Sender) -> None:
        self.spec, self.folder, self.threads, self.sender = spec, folder, threads, sender

    def __call__(self) -> int:
        stop = threading.Event()
        threading.Thread(target=self._watch, args=(stop,), daemon=True).start()
        torch.set_num_threads(self.threads)

        def note(progress: Progress) -> None:
            write_progress(self.folder, progress)

        return attempt(self.spec, self.folder, note, stop.is_set, self.sender.check)

    def checkpoint(self) -> Any:
        return import_module("submitit").helpers.DelayedSubmission(self)

    def _watch(self, stop: threading.Event) -> None:
        while not (self.folder / _STOP).exists():
            time.sleep(_LOOK_SECONDS)
        stop.set()


class _SlurmJob:
    def __init__(self, begun: Any, folder: Path) -> None:
        self.begun, self.folder = begun, folder

    def progress(self) -> dict[str, Any] | None:
        return read_json(self.folder / "progress.json")

    def is_over(self) -> bool:
        return bool(self.begun.done())

    def why(self, progress: dict[str, Any]) -> str:
        said = (self.begun.stderr() or "").strip().splitlines()
        last = f": {said[-1]}" if said else ""
        return (
            f"job {self.begun.job_id} ended as {self.begun.state} at step {progress.get('step', 0)}{last}; "
            f"see {self.begun.paths.stderr}"
        )

    def stop(self) -> None:
        (self.folder / _STOP).touch()
        if self.begun.state in ("PENDING", "UNKNOWN") and self.progress() is None:
            self.begun.cancel(check=False)

    def kill(self) -> None:
        self.begun.cancel(check=False)
        end = time.monotonic() + PATIENCE_SECONDS
        while not self.is_over() and time.monotonic() < end:
            time.sleep(0.05)
