"""Vectors from a server that speaks OpenAI's embeddings protocol."""

import json
import os
import time
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import MissingExtra, MnemicError, UsageError
from mnemic.llm import Endpoint, Retries
from mnemic.llm.retries import read_retry_after
from mnemic.storage.encoders.pooling import encodable, unit, weighted_mean

__all__ = ["EndpointEncoder"]

_OPENAI = "https://api.openai.com/v1"
_TEXTS_AT_ONCE = 64
_WINDOW = 8_000  # characters; such models take some 8,000 tokens, and a token may be a single character


class EndpointEncoder:
    """Args:
    model: as the server knows it.
    base_url: up to and without /embeddings; without it OPENAI_BASE_URL, else OpenAI's own.
    retries: of requests that failed in a way that may pass.

    Raises:
        MissingExtra: the HTTP library is not installed.
        UsageError: the server refuses the model or the key (OPENAI_API_KEY).
        MnemicError: it gave no vectors.
    """

    def __init__(self, model: str, base_url: str | None = None, retries: Retries | None = None) -> None:
        if not model:
            raise UsageError("encoder 'openai:' names no model; write openai:MODEL")
        try:
            import httpx2
        except ImportError:
            raise MissingExtra(f"encoder 'openai:{model}'", "llm") from None
        self.name = f"openai:{model}"
        self._model = model
        key = "OPENAI_API_KEY" if os.environ.get("OPENAI_API_KEY") else None
        base = base_url or os.environ.get("OPENAI_BASE_URL") or _OPENAI
        self._endpoint = Endpoint.model_validate({"base_url": base, "api_key_env": key})
        self._url = base.rstrip("/").removesuffix("/embeddings") + "/embeddings"
        self._http: Any = httpx2
        self._client: Any = httpx2.Client(timeout=60.0)
        self._retries = retries or Retries()
        self.dim = self._ask(["dimension"]).shape[1]
        self.revision = f"{model}/{self.dim}"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Encoder.encode`. A long text is the mean of its windows."""
        windows: list[str] = []
        owners: list[int] = []
        for index, text in enumerate(texts):
            cut = [text[start : start + _WINDOW] for start in range(0, len(text), _WINDOW)]
            cut = [encodable(part) for part in cut if part.strip()]  # servers refuse an empty input
            windows += cut
            owners += [index] * len(cut)
        batches = [self._ask(windows[i : i + _TEXTS_AT_ONCE]) for i in range(0, len(windows), _TEXTS_AT_ONCE)]
        parts = unit(np.concatenate([np.zeros((0, self.dim), np.float32), *batches]))
        weights = np.array([len(window) for window in windows], np.float32)
        return unit(weighted_mean(parts, np.array(owners, np.int64), weights, len(texts)))

    def _ask(self, texts: Sequence[str]) -> NDArray[np.float32]:
        random, reason = Random(0), ""
        for failures in range(self._retries.tries):
            wait = self._retries.delay(failures, random) if failures else 0.0
            time.sleep(wait)
            try:
                return self._once(texts)
            except _MayPass as failed:
                reason = str(failed)
                time.sleep(min(failed.retry_after or 0.0, self._retries.longest_retry_after))
        raise MnemicError(f"encoder '{self.name}': {reason}; tried {self._retries.tries} times")

    def _once(self, texts: Sequence[str]) -> NDArray[np.float32]:
        key = self._endpoint.key()
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        body = json.dumps({"model": self._model, "input": list(texts), "encoding_format": "float"}).encode()
        try:
            response = self._client.post(self._url, content=body, headers=headers)
        except self._http.HTTPError as broken:
            raise _MayPass(f"{self._url} cannot be reached: {type(broken).__name__}") from None
        status = int(response.status_code)
        if status in (408, 409, 425, 429) or status >= 500:
            raise _MayPass(
                f"{self._url} answered {status}", read_retry_after(response.headers.get("retry-after"), time.time())
            )
        if status != 200:
            raise UsageError(
                f"encoder '{self.name}': {self._url} answered {status}; look at the model's name and the key"
            )
        try:
            rows = sorted(response.json()["data"], key=lambda row: row["index"])
            vectors = np.array([row["embedding"] for row in rows], np.float32)
        except (ValueError, LookupError, TypeError):
            raise _MayPass(f"{self._url} answered 200 with what are no embeddings") from None
        right = (len(texts), getattr(self, "dim", vectors.shape[-1] if vectors.ndim == 2 else 0))
        if vectors.shape != right or not np.isfinite(vectors).all():
            raise MnemicError(f"encoder '{self.name}': vectors of shape {vectors.shape} came, {right} were asked for")
        return vectors


class _MayPass(Exception):
    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
