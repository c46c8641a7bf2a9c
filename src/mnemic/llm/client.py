"""A client of OpenAI-compatible servers that pays for nothing twice and loses nothing it has paid for."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import Any, Self, get_args

from mnemic.errors import UsageError, nearest
from mnemic.llm.asking import ask_until_good
from mnemic.llm.budget import Budget
from mnemic.llm.cache import CacheMode, Reply, ResponseCache
from mnemic.llm.circuit import Circuit
from mnemic.llm.clock import Clock
from mnemic.llm.endpoints import Endpoint, Pool
from mnemic.llm.errors import BudgetExhausted, CircuitOpen, EndpointFailed, EndpointUnavailable, LLMError, Stopped
from mnemic.llm.flights import Flights
from mnemic.llm.json_schema import refuse_unknown_keywords
from mnemic.llm.protocol import Check, Completion, Messages, Totals
from mnemic.llm.request import JsonMode, Request
from mnemic.llm.retries import Retries
from mnemic.llm.transport import Transport, TryFailed

__all__ = ["LLMClient"]


class LLMClient:
    """Answers from one model, wherever it is served. See `LLM.complete` for asking.

    Args:
        endpoints: servers of `model`; each request goes to the least loaded.
        model: its name, as the servers know it.
        cache: where replies are kept; every reply is there before `complete` returns. None keeps nothing.
        cache_mode: "read-write"; "read" uses what is there and adds nothing; "refresh" pays anew and keeps that;
            "off" leaves the cache alone.
        budget: what may be spent; replies from the cache cost nothing.
        extra: fields of every request, such as {"reasoning_effort": "low"}; None takes out one that is sent
            otherwise, for a server that refuses it.
        json_mode: how a schema is sent: as "schema" (response_format json_schema), "object" (json_object) or "none".
            Replies are checked all the same.
        retries, max_failures, patience: see `Retries` and `Circuit`.
        clock, random: for tests.
    """

    def __init__(
        self,
        endpoints: Endpoint | Sequence[Endpoint],
        model: str,
        *,
        cache: ResponseCache | None = None,
        cache_mode: CacheMode = "read-write",
        budget: Budget | None = None,
        extra: Mapping[str, Any] | None = None,
        json_mode: JsonMode = "schema",
        retries: Retries | None = None,
        max_failures: int = 20,
        patience: float = 600.0,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        endpoints = [endpoints] if isinstance(endpoints, Endpoint) else list(endpoints)
        if not endpoints:
            raise UsageError("endpoints is empty; give at least one Endpoint")
        for name, value, known in (
            ("cache_mode", cache_mode, get_args(CacheMode)),
            ("json_mode", json_mode, get_args(JsonMode)),
        ):
            if value not in known:
                raise UsageError(f"{name} is '{value}'{nearest(str(value), known)}")
        for endpoint in endpoints:
            endpoint.key()
        self.model = model
        self.budget = budget or Budget()
        self.budget.require_price(model)
        self._cache = cache if cache_mode != "off" else None
        self._reads = cache_mode in ("read-write", "read")
        self._writes = cache_mode in ("read-write", "refresh")
        self._extra = dict(extra or {})
        self._retries = retries or Retries()
        self._random = random or Random()
        clock = clock or Clock()
        self._circuit = Circuit(max_failures, patience, clock)
        self._pool = Pool(endpoints, clock)
        self._transport = Transport(json_mode, clock)
        self._flights = Flights()
        self._lock = threading.Lock()
        self._totals = Totals()

    def __repr__(self) -> str:
        places = ", ".join(place.endpoint.base_url for place in self._pool.places)
        return f"LLMClient({self.model!r} at {places})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the cache is the caller's."""
        self._transport.close()

    @property
    def totals(self) -> Totals:
        with self._lock:
            return self._totals

    @property
    def waiting(self) -> str | None:
        return self._pool.waiting

    def stop(self) -> None:
        self._pool.stop()

    def go_on(self) -> None:
        self._pool.go_on()

    def complete(
        self,
        messages: Messages,
        *,
        response_schema: Mapping[str, Any] | None = None,
        check: Check | None = None,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int | None = None,
        tag: str = "",
    ) -> Completion:
        """See `LLM.complete`."""
        if response_schema is not None:
            refuse_unknown_keywords(response_schema)
        began = time.monotonic()
        sampling = {"temperature": temperature, "max_tokens": max_tokens} | self._extra
        request = Request(
            self.model,
            tuple(dict(message) for message in messages),
            {name: value for name, value in sampling.items() if value is not None},
            seed,
            response_schema,
        )
        paid: list[Request] = []

        def ask(asked: Request) -> Reply:
            reply, was_free = self._ask(asked, tag)
            if not was_free:
                paid.append(asked)
            return reply

        try:
            reply, parsed = ask_until_good(ask, request, check, tag, self._forget)
        except LLMError as failed:
            self._note_failure(failed)
            raise
        if paid:
            self._circuit.call_succeeded()
        return Completion(reply.text, parsed, reply.usage, not paid, time.monotonic() - began)

    def _ask(self, request: Request, tag: str) -> tuple[Reply, bool]:
        """A reply and whether it was free."""
        if self._cache is None:
            return self._pay(request), False
        cache = self._cache

        def fetch() -> tuple[Reply, bool]:
            known = cache.get(key) if self._reads else None
            if known is not None:
                return known, True
            reply = self._pay(request)
            if self._writes:
                cache.put(key, reply, model=self.model, tag=tag)
            return reply, False

        key = request.key
        reply, was_free = self._flights.share(key, fetch)
        if was_free:
            with self._lock:
                self._totals = replace(self._totals, cached=self._totals.cached + 1)
        return reply, was_free

    def _pay(self, request: Request) -> Reply:
        prompt, completion = request.prompt_estimate, request.completion_estimate
        with self.budget.reserved(self.model, prompt, completion) as reservation:
            reply = self._send(request, prompt + completion)
            reservation.settle(reply.usage)
            self._add(reply)
        return reply

    def _send(self, request: Request, tokens: int) -> Reply:
        for failures in range(1, self._retries.tries + 1):
            self._circuit.check()
            lease = self._pool.acquire(tokens)
            try:
                self._circuit.check()  # it may have opened while this call waited
                reply = self._transport.post(lease.endpoint, request)
            except TryFailed as failed:
                why, retry_after = str(failed), failed.retry_after
                if retry_after is not None and retry_after > self._retries.longest_retry_after:
                    self._pool.failed(lease, why, None)
                    raise EndpointUnavailable(f"{why}; it asks to be left alone for {retry_after:.0f} s") from None
                self._pool.failed(lease, why, retry_after)
                self._circuit.try_failed(why)
            except BaseException:
                self._pool.released(lease)
                raise
            else:
                self._pool.answered(lease, reply.usage.prompt_tokens + reply.usage.completion_tokens)
                self._circuit.answered()
                return reply
            if failures < self._retries.tries:
                self._circuit.check()
                self._pool.pause(self._retries.delay(failures, self._random), why)
        raise EndpointUnavailable(f"given up after {self._retries.tries} tries: {why}")

    def _forget(self, answered_badly: list[Request]) -> None:
        if self._cache is not None and self._writes:
            for request in answered_badly:
                self._cache.forget(request.key)

    def _add(self, reply: Reply) -> None:
        cost = self.budget.cost_of(self.model, reply.usage)
        with self._lock:
            was = self._totals
            self._totals = replace(
                was,
                requests=was.requests + 1,
                prompt_tokens=was.prompt_tokens + reply.usage.prompt_tokens,
                completion_tokens=was.completion_tokens + reply.usage.completion_tokens,
                cost=None if cost is None else (was.cost or 0.0) + cost,
                has_estimates=was.has_estimates or reply.usage.estimated,
            )

    def _note_failure(self, failed: LLMError) -> None:
        if isinstance(failed, BudgetExhausted | CircuitOpen | Stopped):
            return
        if not isinstance(failed, EndpointFailed) or not failed.fatal:
            self._circuit.call_failed(str(failed))
        with self._lock:
            self._totals = replace(self._totals, failed=self._totals.failed + 1)
