"""Jobs, health, metrics, and the description of the API."""

import json
import re
from typing import Any, get_args

import pytest
from store_server import StoreServer, serving

from mnemic.errors import MnemicError
from mnemic.llm import Endpoint, LLMClient
from mnemic.storage.recall import METHODS
from mnemic.storage.server import bodies
from mnemic.storage.server.stores import Stores


def test_jobs_wait_are_done_and_are_counted(stores: Stores, stub_server: Any, completion: Any) -> None:
    replies = {
        "entities": completion('{"entities": ["Berlin"]}'),
        "facts": completion('{"facts": [{"subject": "Berlin", "predicate": "lies on", "object": "Spree"}]}'),
    }
    model = stub_server(
        lambda _, body: replies["facts" if "facts" in json.dumps(body["response_format"]) else "entities"]
    )
    with LLMClient(Endpoint(base_url=model.base_url), "m") as llm, serving(stores, llm=llm) as server:
        anna = server.client()
        body = {"events": [{"text": "Berlin lies on the Spree."}], "extract": "llm"}
        anna.post("/v1/events", json=body)
        waiting = anna.get("/v1/jobs").json()
        assert (waiting["states"], waiting["jobs"][0]["state"]) == ({"queued": 1}, "queued")
        ran = anna.post("/v1/jobs/run", json={"max_seconds": 20}).json()
        assert (ran["done"], ran["failed"], ran["stopped"]) == (1, 0, "")
        done = anna.get("/v1/jobs", params={"state": "done"}).json()["jobs"]
        assert done[0]["tokens_in"] == ran["tokens_in"] > 0
        assert anna.get("/v1/facts", params={"subject": "Berlin"}).json()["facts"][0]["object"] == "Spree"
        assert anna.post("/v1/jobs/retry").json() == {"retried": 0}
        told = anna.get("/metrics").text
        assert f'mnemic_llm_tokens{{direction="in"}} {float(ran["tokens_in"])}' in told
        assert 'mnemic_jobs{state="done"} 1.0' in told


def test_without_a_language_model_jobs_wait(server: StoreServer) -> None:
    refused = server.client().post("/v1/jobs/run", json={})
    assert refused.status_code == 409
    assert "--llm" in refused.json()["detail"]


def test_metrics_count_what_happened_and_name_nobody(server: StoreServer) -> None:
    anna = server.client("anna-with-a-name")
    anna.post("/v1/events", json={"events": [{"text": "One."}, {"text": ""}]})
    anna.post("/v1/search", json={"query": "one", "method": "bm25"})
    anna.get("/v1/events/nothing")
    anna.request("PROPFIND", "/no/such/path")
    told = anna.get("/metrics").text
    for line in (
        'mnemic_requests_total{method="POST",route="/v1/events",status="200"} 1.0',
        'mnemic_requests_total{method="GET",route="/v1/events/{event_id}",status="404"} 1.0',
        'mnemic_requests_total{method="other",route="other",status="404"} 1.0',
        'mnemic_events_added_total{status="stored"} 1.0',
        'mnemic_events_added_total{status="failed"} 1.0',
        'mnemic_search_seconds_count{method="bm25"} 1.0',
        "mnemic_requests_running 1.0",
    ):
        assert line in told
    assert "anna" not in told


def test_health_says_when_nothing_can_be_written(server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise MnemicError("the disk is full")

    anna = server.client()
    assert anna.get("/healthz").json()["writable"] is True
    monkeypatch.setattr(server.stores.backend, "write", full)
    ill = anna.get("/healthz")
    assert (ill.status_code, ill.json()["writable"], ill.json()["detail"]) == (503, False, "the disk is full")
    refused = anna.post("/v1/events", json={"events": [{"text": "x"}]})
    assert (refused.status_code, refused.json()["detail"]) == (503, "the disk is full")


def test_a_bug_shows_no_trace(server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret inside")

    anna = server.client()
    monkeypatch.setattr("mnemic.storage.store.MemoryStore.stats", broken)
    reply = anna.get("/v1/stats")
    assert reply.status_code == 500
    assert reply.headers["content-type"] == "application/problem+json"
    assert "secret" not in reply.text
    assert "Traceback" not in reply.text


def test_errors_are_problems(server: StoreServer) -> None:
    anna = server.client()
    for method, path, status in (
        ("GET", "/nothing", 404), ("PUT", "/v1/events", 405), ("GET", "/v1/events/x", 404),
        ("POST", "/v1/search", 422), ("GET", "/v1/history?limit=0", 422), ("GET", "/v1/facts?at=someday", 422),
    ):  # fmt: skip
        reply = anna.request(method, path)
        assert reply.status_code == status, path
        assert reply.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "detail"} <= set(reply.json())
        assert reply.json()["status"] == status
    assert anna.put("/v1/events").headers["allow"] == "DELETE, POST"


def test_the_description_is_whole(server: StoreServer) -> None:
    about = server.client(None).get("/openapi.json").json()
    routes = {(method, path) for path, each in about["paths"].items() for method in each}
    assert {("post", "/v1/events"), ("post", "/v1/search"), ("get", "/v1/facts"), ("get", "/healthz")} <= routes
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(about)))
    assert names <= set(about["components"]["schemas"])
    for path, each in about["paths"].items():
        for method, told in each.items():
            assert told.get("description"), (method, path)
            if path.startswith("/v1"):
                assert told["security"], path
                assert "application/problem+json" in told["responses"]["422"]["content"]
    for name in ("AddBody", "SearchBody", "AddReply", "SearchReply", "Problem"):
        assert about["components"]["schemas"][name]["examples"]


def test_the_methods_are_those_that_there_are() -> None:
    assert set(get_args(bodies.Method)) == set(METHODS)
