"""`mnemic-vllm CHECKPOINT …`: `vllm serve` with the options that eviction needs, taken from the checkpoint."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from mnemic.errors import MnemicError
from mnemic.teaching.memento.memento_file import check_may_evict, read_memento_file
from mnemic_vllm.settings import KEY
from mnemic_vllm.versions import VARIABLE, gate, installed_version

__all__ = ["main", "serve_command"]


def serve_command(checkpoint: Path, more: Sequence[str] = ()) -> list[str]:
    """The command that serves a checkpoint.

    Args:
        more: options for vLLM; given last, so that they win.

    Raises:
        UsageError: no memento.json, or a model that never learned to do without its blocks.
    """
    about = read_memento_file(checkpoint)
    check_may_evict(about)
    options = {KEY: {"markers": list(about.marker_ids), "rules": about.rules.model_dump()}}
    return [
        *("vllm", "serve", str(checkpoint)),
        *("--scheduler-cls", "mnemic_vllm.scheduler.MementoScheduler"),
        *("--worker-cls", "mnemic_vllm.worker.MementoWorker"),
        *("--logits-processors", "mnemic_vllm.logits.BlockLengthCap"),
        *("--no-enable-prefix-caching", "--no-async-scheduling"),
        *("--additional-config", json.dumps(options)),
        *more,
    ]


def main() -> NoReturn:
    """The console script."""
    try:
        if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
            sys.exit("usage: mnemic-vllm CHECKPOINT [options of vllm serve]")
        command = serve_command(Path(sys.argv[1]), sys.argv[2:])
        gate(installed_version(), "on")
    except MnemicError as error:
        sys.exit(f"error: {error}")
    os.environ.setdefault(VARIABLE, "on")
    os.execvp(command[0], command)
