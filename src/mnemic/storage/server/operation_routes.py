"""Jobs, how much there is, and whether the server is well."""

import asyncio
from dataclasses import asdict
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import HTTPException

from mnemic.errors import MnemicError
from mnemic.llm import MeteredLLM
from mnemic.storage.server.access import Access, Memory
from mnemic.storage.server.bodies import JobsQuery, RunBody
from mnemic.storage.server.job_counts import JobCounter
from mnemic.storage.server.metrics import Metrics
from mnemic.storage.server.operation_replies import (
    HealthReply,
    JobsReply,
    RetryReply,
    RunReply,
    StatsReply,
    job_reply,
    run_reply,
)
from mnemic.storage.server.problems import refusals

__all__ = ["add_operation_routes", "add_watching_routes"]

_PATIENCE = 5.0  # seconds that a store may take to be called writable


def add_operation_routes(app: FastAPI) -> None:
    app.add_api_route("/v1/jobs", jobs, methods=["GET"], tags=["jobs"], responses=refusals())
    app.add_api_route("/v1/jobs/run", run, methods=["POST"], tags=["jobs"], responses=refusals(409, 413, 415))
    app.add_api_route("/v1/jobs/retry", retry, methods=["POST"], tags=["jobs"], responses=refusals())
    app.add_api_route("/v1/stats", stats, methods=["GET"], tags=["stats"], responses=refusals())


def add_watching_routes(app: FastAPI) -> None:
    app.add_api_route(
        "/healthz",
        healthz,
        methods=["GET"],
        tags=["watching"],
        responses={503: {"model": HealthReply, "description": "The store takes no writes."}},
    )
    app.add_api_route(
        "/metrics",
        metrics,
        methods=["GET"],
        tags=["watching"],
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "For Prometheus."},
            **refusals(),
        },
    )


def jobs(chosen: Annotated[JobsQuery, Query()], memory: Memory) -> JobsReply:
    """Work for a language model: what waits, what was done and what it cost; the latest first."""
    found = memory.jobs(chosen.state, limit=chosen.limit)
    return JobsReply(jobs=[job_reply(job) for job in reversed(found)], states=memory.stats().jobs)


def run(request: Request, body: RunBody, memory: Memory) -> RunReply:
    """Do what is due with the language model that the server was started with; the reply comes when that is done."""
    client: MeteredLLM | None = request.app.state.llm
    if client is None:
        raise HTTPException(409, "this server has no language model; start it with --llm URL --model NAME")
    return run_reply(memory.run_jobs(client, max_seconds=body.max_seconds, max_jobs=body.max_jobs))


def retry(memory: Memory) -> RetryReply:
    """Have failed and dead jobs tried again by the next run."""
    return RetryReply(retried=memory.retry_jobs())


def stats(memory: Memory) -> StatsReply:
    """How much the memory holds that the key opens."""
    return StatsReply(tenant=memory.tenant, **asdict(memory.stats()))


async def healthz(request: Request, response: Response) -> HealthReply:
    """Whether the server answers and its store takes writes. It needs no key and tells nothing of any memory."""
    access: Access = request.app.state.access
    counter: JobCounter = request.app.state.jobs
    measured: Metrics = request.app.state.metrics
    running = measured.running
    try:
        async with asyncio.timeout(_PATIENCE):
            await asyncio.to_thread(access.stores.check_writable)
            waiting = (await asyncio.to_thread(counter.counts)).waiting
    except (MnemicError, TimeoutError) as error:
        response.status_code = 503
        detail = str(error) or f"the store has not taken a write for {_PATIENCE:g} seconds"
        return HealthReply(status="failing", writable=False, requests_running=running, jobs_waiting=None, detail=detail)
    return HealthReply(status="ok", writable=True, requests_running=running, jobs_waiting=waiting)


def metrics(request: Request, memory: Memory) -> Response:
    """Counters of the whole server, without names of tenants; any key will do."""
    measured: Metrics = request.app.state.metrics
    return Response(measured.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
