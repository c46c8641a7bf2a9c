"""The most memory that a stretch of work took."""

import threading
from types import TracebackType
from typing import Self

import psutil
import torch

__all__ = ["PeakMemory"]

_INTERVAL = 0.02  # seconds; what lives shorter than this is missed on the CPU


class PeakMemory:
    """`with PeakMemory(device) as meter: ...; meter.bytes`

    On CUDA the allocator's own peak; on the CPU by how much the process grew at most, looked at every 20 ms.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._process = psutil.Process()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._start = self._most = 0

    @property
    def bytes(self) -> int:
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        return max(self._most, self._resident()) - self._start

    def __enter__(self) -> Self:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            return self
        self._start = self._most = self._resident()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_INTERVAL):
            self._most = max(self._most, self._resident())

    def _resident(self) -> int:
        return int(self._process.memory_info().rss)
