"""One run in a process of its own, which may die without taking anything else with it.

It talks to the grid through files in the run's folder: `progress.json` while it works, `results.jsonl` when it is done,
`failure.json` when it failed, `log.txt` for whatever was printed.
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from mnemic.errors import MnemicError
from mnemic.training.notes import write_json
from mnemic.training.progress import Interrupted, OnProgress, Progress, ShouldStop
from mnemic.training.runs import RunSpec, run

__all__ = ["INTERRUPTED", "attempt", "work", "write_progress"]

INTERRUPTED = 75  # exit code: a checkpoint is written, run it again


def work(spec: RunSpec, directory: Path, threads: int, visible_device: str | None, check: Callable[[], None]) -> None:
    """The life of a worker process; it ends with an exit code of `attempt`, which says what `check` is."""
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the grid decides
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_die_with_parent, daemon=True).start()
    directory.mkdir(parents=True, exist_ok=True)
    _print_into(directory / "log.txt")
    if visible_device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible_device
    torch.set_num_threads(threads)
    sys.exit(attempt(spec, directory, lambda progress: write_progress(directory, progress), stop.is_set, check))


def attempt(
    spec: RunSpec,
    directory: Path,
    on_progress: OnProgress,
    should_stop: ShouldStop,
    check: Callable[[], None],
) -> int:
    """Run `spec`, and leave `failure.json` where it failed: 0 done, 1 failed, INTERRUPTED when it was asked to stop.

    Args:
        check: called first, it takes over the code version of the grid; what it raises is why the run failed.
    """
    try:
        check()
        run(spec, directory, on_progress=on_progress, should_stop=should_stop)
    except Interrupted:
        return INTERRUPTED
    except Exception as error:
        traceback.print_exc()
        is_ours = isinstance(error, MnemicError)
        message = str(error) if is_ours else f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        write_json(
            directory / "failure.json", {"error": message if is_ours else f"{message} (see {directory}/log.txt)"}
        )
        return 1
    return 0


def write_progress(directory: Path, progress: Progress) -> None:
    write_json(directory / "progress.json", asdict(progress))


def _print_into(path: Path) -> None:
    with path.open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


def _die_with_parent() -> None:
    """A grid that was killed outright cannot stop its workers, and the next one starts the same runs."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
