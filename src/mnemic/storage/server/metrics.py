"""What the server did, for Prometheus: requests, latencies, what was added and asked, jobs and their tokens."""

import json
import logging
import time
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mnemic.storage.records import ItemReport
from mnemic.storage.server.asgi import App, Message, Receive, Scope, Send
from mnemic.storage.server.job_counts import JobCounter

__all__ = ["Metrics", "Observed"]

_access = logging.getLogger("mnemic.access")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counters of one app."""

    def __init__(self, jobs: JobCounter) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "mnemic_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "mnemic_request_seconds",
            "Until the answer.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.running = 0  # requests; only the event loop's thread counts them
        running = Gauge("mnemic_requests_running", "Requests being answered.", registry=registry)
        running.set_function(lambda: self.running)
        self.events = Counter("mnemic_events_added", "Events by what became of them.", ["status"], registry=registry)
        self.searches = Histogram(
            "mnemic_search_seconds", "Questions, by recall method.", ["method"], buckets=_BUCKETS, registry=registry
        )
        registry.register(_Jobs(jobs))

    def added(self, items: Iterable[ItemReport]) -> None:
        for item in items:
            self.events.labels(item.status).inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)


class _Jobs(Collector):
    """Read from the store, so that work done by others counts too."""

    def __init__(self, jobs: JobCounter) -> None:
        self._jobs = jobs

    def collect(self) -> Iterator[Metric]:
        counts = self._jobs.counts()
        states = GaugeMetricFamily("mnemic_jobs", "Jobs of all tenants, by state.", labels=["state"])
        for state in ("queued", "running", "done", "failed", "dead"):
            states.add_metric([state], counts.states[state])
        yield states
        tokens = GaugeMetricFamily(
            "mnemic_llm_tokens", "Tokens that the jobs in the store have cost.", labels=["direction"]
        )
        tokens.add_metric(["in"], counts.tokens_in)
        tokens.add_metric(["out"], counts.tokens_out)
        yield tokens


class Observed:
    """Counts every request, and logs it as one line of JSON where somebody listens to the logger mnemic.access."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 500, time.perf_counter()  # 500, unless an answer begins

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.running += 1
        try:
            await self._app(scope, receive, noted)
        finally:
            self._metrics.running -= 1
            self._note(scope, status, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        # paths are endless, routes are few; so are methods of HTTP, but a client may send any word
        route: Any = scope.get("route")
        path = getattr(route, "path", "other")
        method = scope["method"] if path != "other" or scope["method"] in ("GET", "POST", "DELETE") else "other"
        self._metrics.requests.labels(method, path, str(status)).inc()
        self._metrics.seconds.labels(method, path).observe(seconds)
        if _access.isEnabledFor(logging.INFO):
            line = {"method": method, "path": scope["path"], "status": status, "seconds": round(seconds, 6)}
            _access.info(json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **line}))
