"""What made a result: versions, a digest of the code, the commit, the machine."""

import platform
from typing import Any

import psutil
import torch
import transformers

import mnemic
from mnemic.report.provenance import commit, cpu_name, digest_of, usable_cores

__all__ = ["adopt_code_version", "code_version", "commit", "digest_of", "hardware", "usable_cores", "versions"]

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


def hardware(device: torch.device) -> dict[str, Any]:
    return {
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }
