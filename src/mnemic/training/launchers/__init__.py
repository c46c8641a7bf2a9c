"""Where the runs of a grid work: processes of this machine, a Ray cluster, Slurm. `mnemic compare --on` names one."""

from collections.abc import Iterable
from pathlib import Path

from mnemic.catalogue import parse_spec
from mnemic.errors import UsageError, nearest
from mnemic.options import validated
from mnemic.training.launchers.base import Job, Launcher
from mnemic.training.runs import RunSpec

__all__ = ["Job", "Launcher", "open_launcher"]

_UNNAMED = {"local": None, "ray": "address", "slurm": "partition"}  # each place's option that needs no name


def open_launcher(on: str, directory: Path, jobs: int | None = None, specs: Iterable[RunSpec] = ()) -> Launcher:
    """The launcher that `on` describes: "local", "ray:address=HOST:PORT,gpus=1", "slurm:partition=gpu".

    Args:
        directory: of the grid.
        jobs: runs at a time; None: as many as there is room for.
        specs: the runs, of which some want an accelerator.

    Raises:
        UsageError: no such place, or an option that it does not have.
        MissingExtra: the library that it needs is not installed.
        MnemicError: it cannot be reached.
    """
    name, options = _parsed(on)
    if name == "ray":
        from mnemic.training.launchers.ray_cluster import RayLauncher, RayOptions

        return RayLauncher(validated(f"on {on}", RayOptions, options), jobs, directory)
    if name == "slurm":
        from mnemic.training.launchers.slurm import SlurmLauncher, SlurmOptions

        return SlurmLauncher(validated(f"on {on}", SlurmOptions, options), jobs, directory)
    if options:
        raise UsageError(f"on '{on}': processes of this machine take no options; --jobs says how many")
    from mnemic.training.launchers.local import LocalLauncher

    return LocalLauncher(jobs, specs)


def _parsed(on: str) -> tuple[str, dict[str, str]]:
    name, options = parse_spec(on)
    if name not in _UNNAMED:
        raise UsageError(f"on '{on}': there is no place '{name}' to run on{nearest(name, _UNNAMED)}")
    if "" in options:
        unnamed = _UNNAMED[name]
        if unnamed is None or unnamed in options:
            raise UsageError(f"on '{on}': '{options['']}' is not option=value")
        options[unnamed] = options.pop("")
    return name, options
