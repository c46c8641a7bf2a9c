"""A key opens one memory, and no way leads from there to another."""

import os
import random
from typing import Any

import httpx2
import pytest
from store_server import StoreServer

from mnemic.storage.api_keys import list_keys, revoke_key
from mnemic.storage.server.stores import Stores

CALLS = int(os.environ.get("MNEMIC_TEST_CALLS", "120"))  # the claim: 10,000


def test_without_a_key_only_health_answers(server: StoreServer) -> None:
    stranger = server.client(None)
    for method, path in (
        ("GET", "/v1/stats"), ("GET", "/v1/events/x"), ("GET", "/v1/facts"), ("GET", "/v1/history"),
        ("GET", "/v1/jobs"), ("POST", "/v1/jobs/retry"), ("GET", "/metrics"), ("POST", "/mcp"),
        ("DELETE", "/v1/subjects/x"),
    ):  # fmt: skip
        for headers in ({}, {"Authorization": "Bearer mnemic_x_y"}, {"Authorization": f"Basic {server.key('anna')}"}):
            reply = stranger.request(method, path, headers=headers)
            assert reply.status_code == 401, path
            assert reply.headers["www-authenticate"] == "Bearer"
            assert reply.headers["content-type"] == "application/problem+json"
    assert stranger.get("/healthz").json()["status"] == "ok"
    assert set(stranger.get("/healthz").json()) == {"status", "writable", "requests_running", "jobs_waiting", "detail"}


def test_a_revoked_key_opens_nothing_at_once(server: StoreServer) -> None:
    anna = server.client()
    assert anna.get("/v1/stats").json()["tenant"] == "anna"
    [key] = list_keys(server.stores.backend)
    revoke_key(server.stores.backend, key.id)
    assert anna.get("/v1/stats").status_code == 401


def test_a_tenant_is_not_taken_from_anywhere_else(server: StoreServer) -> None:
    anna, bela = server.client("anna"), server.client("bela")
    bela.post("/v1/events", json={"events": [{"text": "Bela's secret."}]})
    in_body = anna.post("/v1/search", json={"query": "secret", "tenant": "bela"})
    in_event = anna.post("/v1/events", json={"events": [{"text": "x", "tenant": "bela"}]})
    in_query = anna.get("/v1/facts", params={"tenant": "bela"})
    assert [reply.status_code for reply in (in_body, in_event, in_query)] == [422] * 3
    for headers in ({"X-Tenant": "bela"}, {"Cookie": "tenant=bela"}, {"Tenant": "bela"}):
        assert anna.get("/v1/stats", headers=headers, params={"tenant": "bela"}).json()["tenant"] == "anna"


def test_tenants_never_meet(server: StoreServer) -> None:
    """Random calls by four tenants who say the same words; what each is told has that tenant's mark alone."""
    chance, names = random.Random(7), ["anna", "bela", "carl", "dora"]
    clients = {name: server.client(name) for name in names}
    ids: dict[str, list[str]] = {name: [] for name in names}
    facts: dict[str, list[str]] = {name: [] for name in names}

    def call(name: str, client: httpx2.Client) -> Any:
        other = chance.choice(names)
        kind = chance.randrange(9)
        if kind <= 1:
            text, number = f"Mark-{name} met Ada in City {chance.randrange(5)}", len(ids[name])
            event = {"text": text, "session": "s", "facts": [{"subject": "Ada", "predicate": "met", "object": text}]}
            reply = client.post("/v1/events", json={"events": [{**event, "source": f"mark-{name}-{number}"}]})
            ids[name].append(reply.json()["items"][0]["id"])
            return reply.text
        if kind == 2 and ids[other]:
            reply = client.get(f"/v1/events/{chance.choice(ids[other])}")
            assert other == name or reply.status_code == 404
            return reply.text
        if kind == 3 and ids[other]:
            reply = client.delete(f"/v1/events/{chance.choice(ids[other])}")
            assert other == name or reply.status_code == 404
            return reply.text
        if kind == 4:
            reply = client.get("/v1/facts", params={"subject": "Ada"})
            facts[name] = [fact["id"] for fact in reply.json()["facts"]]
            return reply.text
        if kind == 5 and facts[other] and other != name:
            reply = client.post(f"/v1/facts/{chance.choice(facts[other])}/retract", json={})
            assert reply.status_code == 404
            return reply.text
        if kind == 6:
            return client.get("/v1/graph", params={"entity": "Ada"}).text
        if kind == 7:
            return client.get("/v1/history").text
        method = chance.choice(["bm25", "hybrid", "dense", "rule-graph"])
        return client.post("/v1/search", json={"query": "Ada City mark", "method": method, "k": 100}).text

    for _ in range(CALLS):
        name = chance.choice(names)
        told = call(name, clients[name]).lower()
        assert not [other for other in names if other != name and f"mark-{other}" in told]
    for name in names:
        events = clients[name].post("/v1/search", json={"query": "Ada", "method": "bm25", "k": 1000}).json()["hits"]
        assert {hit["provenance"]["event"] for hit in events} <= set(ids[name])


HERE: list[dict[str, str]] = [
    {},
    {"Host": "localhost:1"},
    {"Host": "[::1]:1"},
    {"Host": "127.0.0.1:1", "Origin": "http://127.0.0.1:1"},
]
ELSEWHERE: list[dict[str, str]] = [
    {"Host": "evil.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": ""},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
]


def test_without_keys_no_foreign_page_reaches_the_memory(local: StoreServer) -> None:
    client = local.client(None)
    for headers in HERE:
        assert client.get("/v1/stats", headers=headers).status_code == 200, headers
    for headers in ELSEWHERE:
        for path in ("/v1/stats", "/mcp", "/metrics", "/openapi.json"):
            assert client.get(path, headers=headers).status_code == 403, headers


def test_a_foreign_form_cannot_add(local: StoreServer) -> None:
    """What a browser sends without asking first has no JSON type."""
    body = '{"events": [{"text": "planted"}]}'
    reply = local.client(None).post("/v1/events", content=body, headers={"Content-Type": "text/plain"})
    assert reply.status_code == 415
    assert local.client(None).get("/v1/stats").json()["events"] == 0


def test_without_keys_everybody_here_has_the_named_memory(local: StoreServer) -> None:
    client = local.client(None)
    client.post("/v1/events", json={"events": [{"text": "Anna's."}]})
    assert client.get("/v1/stats").json()["tenant"] == "anna"
    assert client.get("/v1/history").json()["history"][0]["actor"] == "local"


def test_many_tenants_at_once_share_one_writer(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnemic.storage.server.stores._MOST_OPEN", 2)
    for round_ in range(2):
        for name in ("a", "b", "c", "d"):
            assert stores.of(name).add(f"{name} {round_}").stored == 1
    assert [len(stores.of(name).search("0 1", method="bm25")) for name in ("a", "b", "c", "d")] == [2] * 4
    assert stores.of("d") is stores.of("d")
