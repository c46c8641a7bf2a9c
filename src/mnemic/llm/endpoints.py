"""Where requests go: servers, how much each may be asked at a time, and which is asked next."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Condition, get_ident
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from mnemic.errors import UsageError
from mnemic.llm.clock import Clock
from mnemic.llm.errors import Stopped
from mnemic.llm.rates import Entry, MinuteWindow

__all__ = ["Endpoint", "Lease", "Pool"]

_FAILURES_BEFORE_REST = 5
_FIRST_REST = 15.0
_LONGEST_REST = 240.0


class Endpoint(BaseModel):
    """One OpenAI-compatible server. Its key is in no repr, dump or message."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, coerce_numbers_to_str=True)

    base_url: str = Field(description="up to and without /chat/completions, such as http://localhost:8000/v1")
    api_key: SecretStr | None = Field(None, exclude=True, repr=False, description="bearer key; better an api_key_env")
    api_key_env: str | None = Field(None, description="environment variable that holds the bearer key")
    requests_per_minute: int | None = Field(None, ge=1, description="requests in any 60 seconds")
    tokens_per_minute: int | None = Field(None, ge=1, description="tokens of prompts and replies in any 60 seconds")
    max_concurrency: int = Field(8, ge=1, description="requests at the same time")
    timeout: float = Field(300.0, gt=0, description="seconds without a sign of life before a request is given up")

    @model_validator(mode="after")
    def _url_is_plain(self) -> "Endpoint":
        url = urlsplit(self.base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("base_url must begin with http:// or https:// and name a host")
        if url.username or url.password or url.query or url.fragment:
            raise ValueError("base_url must be without user, password, query and fragment; the key goes into api_key")
        return self

    @property
    def url(self) -> str:
        return self.base_url.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"

    def key(self) -> str | None:
        """The bearer key, None where the server needs none.

        Raises:
            UsageError: the variable is not set, or no header can hold the key. The key itself is not shown.
        """
        key = self.api_key.get_secret_value() if self.api_key is not None else None
        if key is None and self.api_key_env is not None:
            key = os.environ.get(self.api_key_env)
            if not key:
                raise UsageError(f"endpoint {self.base_url}: the environment variable {self.api_key_env} is not set")
        key = (key or "").strip()
        if not (key.isascii() and key.isprintable()):
            raise UsageError(f"endpoint {self.base_url}: the key has characters that no HTTP header can hold")
        return key or None


@dataclass
class Place:
    """An endpoint and what is going on there."""

    endpoint: Endpoint
    requests: MinuteWindow
    tokens: MinuteWindow
    active: int = 0
    failures: int = 0
    rests: int = 0
    resting_until: float = float("-inf")
    why: str = ""


@dataclass(frozen=True)
class Lease:
    """The right to send one request to one endpoint."""

    place: Place
    request: Entry = field(repr=False)
    tokens: Entry = field(repr=False)

    @property
    def endpoint(self) -> Endpoint:
        return self.place.endpoint


class Pool:
    """Endpoints that are equally good; the least loaded one that may be asked is asked."""

    def __init__(self, endpoints: Sequence[Endpoint], clock: Clock) -> None:
        self._clock = clock
        self._changed = Condition()
        self._stopped = False
        self._waits: dict[int, tuple[float, str]] = {}
        self.places = [
            Place(e, MinuteWindow(e.requests_per_minute), MinuteWindow(e.tokens_per_minute)) for e in endpoints
        ]

    def acquire(self, tokens: int) -> Lease:
        """Wait until a request of about `tokens` may be sent.

        Raises:
            Stopped: `stop` was called.
        """
        with self._changed:
            while True:
                self._refuse_when_stopped()
                now = self._clock.now()
                # Only endpoints with a free slot have a known moment; the others announce themselves when one is freed.
                free = [
                    (self._ready_at(p, tokens, now), p) for p in self.places if p.active < p.endpoint.max_concurrency
                ]
                ready = [place for when, place in free if when <= now]
                if ready:
                    return self._lease(min(ready, key=lambda p: p.active / p.endpoint.max_concurrency), tokens, now)
                if free:
                    when, place = min(free, key=lambda found: found[0])
                    at_limit = f"the limit per minute of {place.endpoint.base_url} is reached"
                    self._wait_until(when, place.why if place.resting_until >= when else at_limit)
                else:
                    self._clock.wait(self._changed, None)

    def pause(self, seconds: float, why: str) -> None:
        """Wait before the next try.

        Raises:
            Stopped: `stop` was called.
        """
        with self._changed:
            until = self._clock.now() + seconds
            while self._clock.now() < until:
                self._refuse_when_stopped()
                self._wait_until(until, why)
            self._refuse_when_stopped()

    def answered(self, lease: Lease, tokens: int) -> None:
        """The request was answered and took `tokens`."""
        with self._changed:
            lease.place.tokens.correct(lease.tokens, tokens)
            lease.place.failures = lease.place.rests = 0
            self._release(lease)

    def failed(self, lease: Lease, why: str, retry_after: float | None) -> None:
        """The request failed in a way that may pass. An endpoint that keeps failing, or asks for it, gets a rest."""
        with self._changed:
            place, now = lease.place, self._clock.now()
            place.failures += 1
            place.why = why
            rest = retry_after or 0.0
            if place.failures % _FAILURES_BEFORE_REST == 0:
                rest = max(rest, min(_FIRST_REST * 2**place.rests, _LONGEST_REST))
                place.rests += 1
            place.resting_until = max(place.resting_until, now + rest)
            self._release(lease)

    def released(self, lease: Lease) -> None:
        """The request is over and says nothing about the endpoint's health."""
        with self._changed:
            self._release(lease)

    @property
    def waiting(self) -> str | None:
        """What is being waited for, None while something is on the wire or nothing is asked."""
        with self._changed:
            if not self._waits or any(place.active for place in self.places):
                return None
            until, why = min(self._waits.values())
            return f"{why}; next try in {max(0.0, until - self._clock.now()):.0f} s"

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def go_on(self) -> None:
        with self._changed:
            self._stopped = False

    def _refuse_when_stopped(self) -> None:
        if self._stopped:
            raise Stopped("stopped before the next request was sent")

    def _wait_until(self, when: float, why: str) -> None:
        self._waits[get_ident()] = (when, why)
        try:
            self._clock.wait(self._changed, when - self._clock.now())
        finally:
            del self._waits[get_ident()]

    @staticmethod
    def _ready_at(place: Place, tokens: int, now: float) -> float:
        return max(place.resting_until, place.requests.ready_at(1, now), place.tokens.ready_at(tokens, now))

    @staticmethod
    def _lease(place: Place, tokens: int, now: float) -> Lease:
        place.active += 1
        return Lease(place, place.requests.add(1, now), place.tokens.add(tokens, now))

    def _release(self, lease: Lease) -> None:
        lease.place.active -= 1
        self._changed.notify_all()
