"""What made a result: versions, a digest of the code, the commit, the machine."""

import hashlib
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers

import mnemic

__all__ = ["adopt_code_version", "code_version", "commit", "digest_of", "hardware", "versions"]

_RESULTS_COME_FROM = ("ops", "modules", "state", "context", "weights", "models", "tasks", "training")


def versions() -> dict[str, str]:
    return {
        "mnemic": mnemic.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "code": code_version(),
    }


def code_version() -> str:
    """Digest of the sources that a run's result depends on: it changes with an edit, and not with a commit of docs."""
    return _adopted[-1] if _adopted else digest_of(_RESULTS_COME_FROM)


def adopt_code_version(version: str) -> None:
    """Take over what the process that started this one runs, for its sources may have been edited since."""
    _adopted.append(version)


_adopted: list[str] = []


@cache
def digest_of(folders: tuple[str, ...]) -> str:
    """Twelve hex digits of all sources in these folders of the package."""
    package = Path(mnemic.__file__).parent
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((package / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@cache
def commit() -> str | None:
    """The commit of the checkout that mnemic runs from; None when it is installed or git is not there."""
    here = Path(mnemic.__file__).parent
    try:
        command = ["git", "-C", str(here), "log", "-1", "--format=%h", "--", "."]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def hardware(device: torch.device) -> dict[str, Any]:
    return {
        "cpu": _cpu_name(),
        "cores": usable_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
