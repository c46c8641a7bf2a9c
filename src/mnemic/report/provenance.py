"""What made a result, as far as it can be said without torch: the code, the commit, the machine."""

import hashlib
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

import mnemic

__all__ = ["commit", "cpu_name", "digest_of", "usable_cores"]


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


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
