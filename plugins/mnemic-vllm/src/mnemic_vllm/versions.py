"""Which vLLM the plugin knows: it leans on internals that change from release to release."""

import os
import re
import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, NamedTuple, cast, get_args

from mnemic.errors import UsageError

__all__ = ["SUPPORTED", "VARIABLE", "Mode", "Support", "gate", "installed_version", "mode_from_environment"]

Mode = Literal["off", "auto", "on"]
"""off: do nothing; auto: serve with eviction where that is possible, else without; on: with eviction or not at all."""

VARIABLE = "MNEMIC_VLLM"


class Support(NamedTuple):
    """How far a release is known.

    Attributes:
        runner: the model runner that the worker extends.
        evidence: how it was found out.
    """

    runner: str
    evidence: str


SUPPORTED: dict[tuple[int, int], Support] = {
    (0, 13): Support("vllm.v1.worker.gpu_model_runner.GPUModelRunner", "its source was read; it was never run"),
}
"""By (major, minor)."""


def mode_from_environment() -> Mode:
    """MNEMIC_VLLM, off where it is unset."""
    given = os.environ.get(VARIABLE, "off").lower()
    if given not in get_args(Mode):
        raise UsageError(f"{VARIABLE}={given}: must be one of {', '.join(get_args(Mode))}")
    return cast(Mode, given)


def installed_version() -> str:
    """vLLM's version, asked without importing it; empty when it is not installed."""
    try:
        return version("vllm")
    except PackageNotFoundError:
        return ""


def gate(found: str, mode: Mode) -> Support | None:
    """The support for a version of vLLM; None when the plugin must stay inert.

    Raises:
        UsageError: mode "on" with a version that is not in the table.
    """
    if mode == "off":
        return None
    numbers = re.match(r"(\d+)\.(\d+)", found)
    support = SUPPORTED.get((int(numbers[1]), int(numbers[2]))) if numbers else None
    if support is not None:
        return support
    known = ", ".join(f"{major}.{minor}.x" for major, minor in SUPPORTED)
    complaint = f"mnemic-vllm knows vLLM {known}; found {found or 'none'}"
    if mode == "on":
        raise UsageError(f"{complaint}; install a known one, or set the mode to auto to serve without eviction")
    warnings.warn(f"{complaint}: blocks are not evicted", RuntimeWarning, stacklevel=2)
    return None
