"""Nearest vectors without looking at all: a usearch graph that is a cache of the store, in a file beside it.

The store never depends on it. A file that is missing, damaged or of another encoder is made anew in the background,
while searches look at all vectors; what was added since is looked at besides; what was erased is left out.
"""

import hashlib
import json
import os
import threading
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.storage.images import Image

__all__ = ["ApproximateIndex"]

_MAGIC = b"mnemic vectors 1\n"
_MOST_GONE = 0.2  # share of erased vectors at which the graph is made anew
_AT_ONCE = 1_000
_THREADS = max(1, (os.cpu_count() or 1) // 2)  # that make the graph; the others go on answering
_EXPANSION = 256  # candidates that usearch keeps while it searches; its default, 64, finds too few of the nearest


class ApproximateIndex:
    """Vectors of one tenant by passage number. Safe to use from threads.

    Args:
        path: of the cache.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._changing = threading.Lock()  # the graph that searches look at
        self._index: Any = None
        self._about: dict[str, Any] = {}
        self._loaded = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def candidates(self, image: Image, query: NDArray[np.float32], count: int) -> NDArray[np.int64] | None:
        """Places in the image of at least `count` passages that should be among the nearest, ascending; None while
        there is no index, or it is being changed."""
        with self._lock:
            if not self._loaded:
                self._loaded = True
                self._load(image)
            if self._behind(image):
                self._begin(image)
            index, last = self._index, self._about.get("last", 0)
            if index is None or self._about.get("rewrites") != image.rewrites:
                return None
            if not self._changing.acquire(blocking=False):  # no search waits for it: looking at all is fast enough
                return None
            try:
                found = index.search(query, count).keys.astype(np.int64)
            finally:
                self._changing.release()
        seqs = image.seqs.rows
        places = np.searchsorted(seqs, found)
        known = places < len(seqs)
        known[known] = seqs[places[known]] == found[known]
        tail = np.arange(np.searchsorted(seqs, last, side="right"), len(seqs))
        return np.unique(np.concatenate([places[known], tail]))

    def close(self) -> None:
        """Stop what is being made; the file stays as it was."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def wait(self) -> None:
        """Until what is being made is ready."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def discard(self) -> None:
        """Delete the cache, which holds traces of what was erased."""
        with self._lock:
            self._index, self._about = None, {}
            self._path.unlink(missing_ok=True)

    def _behind(self, image: Image) -> bool:
        if self._index is None or self._about["rewrites"] != image.rewrites:
            return True
        return len(image.seqs) - int(np.searchsorted(image.seqs.rows, self._about["last"], side="right")) > _AT_ONCE

    def _begin(self, image: Image) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        state = (image.seqs.rows, image.vectors.rows, image.rewrites, _identity(image))
        self._thread = threading.Thread(target=self._catch_up, args=state, name="mnemic-vectors", daemon=True)
        self._thread.start()

    def _catch_up(self, seqs: NDArray[np.int64], vectors: NDArray[np.float32], rewrites: int, identity: str) -> None:
        """Bring the index to these vectors, and keep it in the file."""
        with self._lock:
            index = self._index
            keys = np.zeros(0, np.int64) if index is None else _keys(index)
        live = np.intersect1d(keys, seqs)
        if index is None or len(live) < (1 - _MOST_GONE) * len(keys):
            index, live = _new_index(vectors.shape[1]), np.zeros(0, np.int64)
        if index is None:
            return
        missing = np.flatnonzero(~np.isin(seqs, live))
        for begin in range(0, len(missing), _AT_ONCE):
            if self._stop.is_set():
                return
            rows = missing[begin : begin + _AT_ONCE]
            with self._changing if index is self._index else nullcontext():
                index.add(seqs[rows].astype(np.uint64), vectors[rows], threads=_THREADS)
        about = {"identity": identity, "rewrites": rewrites, "last": int(seqs[-1]) if len(seqs) else 0}
        with self._lock:
            self._index, self._about = index, about
            payload = bytes(index.save()) if len(missing) else b""
        if payload:
            _write(self._path, about, payload)

    def _load(self, image: Image) -> None:
        index = _new_index(image.encoder.dim)
        if index is None:
            return
        try:
            head, _, payload = self._path.read_bytes().removeprefix(_MAGIC).partition(b"\n")
            about = json.loads(head)
            if about["identity"] != _identity(image) or about["sha256"] != hashlib.sha256(payload).hexdigest():
                return
            index.load(payload)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError):
            return
        self._index, self._about = index, about


def _keys(index: Any) -> NDArray[np.int64]:
    return np.asarray(index.keys.__array__(), np.int64)


def _identity(image: Image) -> str:
    return f"{image.encoder.name} {image.encoder.revision} {image.encoder.dim}"


def _new_index(dim: int) -> Any:
    """None where usearch is not installed: all vectors are looked at then."""
    try:
        usearch = import_module("usearch.index")
    except ModuleNotFoundError:
        return None
    return usearch.Index(ndim=dim, metric="ip", dtype="f16", expansion_search=_EXPANSION)


def _write(path: Path, about: dict[str, Any], payload: bytes) -> None:
    """As a whole or not at all; several processes may do so, and the last one's stays. A full disk costs only time."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    head = json.dumps(about | {"sha256": hashlib.sha256(payload).hexdigest()}).encode()
    try:
        part.write_bytes(_MAGIC + head + b"\n" + payload)
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
