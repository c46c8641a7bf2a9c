"""What the server answers about jobs, sizes and its own health. Times are ISO 8601, UTC."""

from dataclasses import asdict
from typing import Literal

from pydantic import BaseModel, Field

from mnemic.storage.job_runner import JobsReport
from mnemic.storage.records import Job
from mnemic.storage.times import iso

__all__ = ["HealthReply", "JobsReply", "RetryReply", "RunReply", "StatsReply", "job_reply", "run_reply"]


class JobReply(BaseModel):
    """Work for a language model."""

    id: str
    kind: str
    event: str | None
    state: Literal["queued", "running", "done", "failed", "dead"]
    attempts: int
    lease_until: str | None
    tokens_in: int
    tokens_out: int
    cost: float | None = Field(description="none where the model's price is not known")
    error: str
    created_at: str | None
    updated_at: str | None


def job_reply(job: Job) -> JobReply:
    times = {name: iso(getattr(job, name)) for name in ("lease_until", "created_at", "updated_at")}
    return JobReply(**{**asdict(job), **times})


class JobsReply(BaseModel):
    """The latest first."""

    jobs: list[JobReply]
    states: dict[str, int] = Field(description="how many there are in each state")


class RunReply(BaseModel):
    """What became of the jobs that were tried."""

    done: int
    failed: int
    dead: int
    tokens_in: int
    tokens_out: int
    seconds: float
    stopped: str = Field(description="why it ended while jobs were due")


def run_reply(report: JobsReport) -> RunReply:
    return RunReply(**asdict(report))


class RetryReply(BaseModel):
    """How many failed and dead jobs are due again."""

    retried: int


class StatsReply(BaseModel):
    """How much a tenant holds; bytes are of the whole database."""

    tenant: str
    events: int
    forgotten: int
    passages: int
    entities: int
    facts: int
    jobs: dict[str, int]
    bytes: int
    encoder: str | None


class HealthReply(BaseModel):
    """The server answers; `writable`: the store takes what is added."""

    status: Literal["ok", "failing"]
    writable: bool
    requests_running: int
    jobs_waiting: int | None = Field(description="of all tenants")
    detail: str = ""
