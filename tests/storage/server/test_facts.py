"""Facts over HTTP, in both of their times."""

from store_server import StoreServer

LIVES = {"subject": "Bob", "predicate": "works for", "object": "Acme", "valid_from": "2020-01-01"}


def test_facts_hold_in_both_of_their_times(server: StoreServer) -> None:
    anna = server.client()
    anna.post("/v1/events", json={"events": [{"text": "Bob is at Acme since 2020.", "facts": [LIVES]}]})
    [old] = anna.get("/v1/facts", params={"subject": "Bob"}).json()["facts"]
    assert (old["valid_from"], old["version"], old["extractor"]) == ("2020-01-01T00:00:00Z", 1, "given")
    new = {"subject": "Bob", "predicate": "works for", "object": "Globex", "valid_from": "2024-01-01"}
    path = f"/v1/facts/{old['id']}"
    assert anna.post(f"{path}/supersede", json={"fact": new, "expected_version": 2}).status_code == 409
    made = anna.post(f"{path}/supersede", json={"fact": new, "expected_version": 1}).json()["id"]

    def objects(**when: str) -> list[str]:
        reply = anna.get("/v1/facts", params={"subject": "Bob", "predicate": "works for", **when}).json()
        return [fact["object"] for fact in reply["facts"]]

    times = ("2019-01-01", "2021-01-01", "2025-01-01")
    assert [objects(at=at) for at in times] == [[], ["Acme"], ["Globex"]]
    assert objects(at="2025-01-01", known_at=old["recorded_at"]) == ["Acme"]
    again = anna.post(f"{path}/supersede", json={"fact": new})
    assert again.status_code == 409
    assert "no more" in again.json()["detail"]
    assert anna.post(f"/v1/facts/{made}/retract", json={"expected_version": 1}).json() == {"id": made}
    assert objects(at="2025-01-01") == []
    whole = anna.get("/v1/facts/timeline", params={"subject": "Bob"}).json()
    assert whole["total"] == 3
    assert {fact["version"] for fact in whole["facts"]} == {2}
    assert anna.post("/v1/facts/none/retract", json={}).status_code == 404
    assert anna.get("/v1/facts", params={"limit": 1}).json() == {**anna.get("/v1/facts").json(), "total": 1}


def test_the_graph_around_a_name(server: StoreServer) -> None:
    anna = server.client()
    assert anna.get("/v1/graph", params={"entity": "Bob"}).json()["names"] == []
    anna.post("/v1/events", json={"events": [{"text": "Bob is at Acme.", "facts": [LIVES]}]})
    around = anna.get("/v1/graph", params={"entity": "bob"}).json()
    assert around["names"] == ["Bob"]
    assert [(n["name"], n["kind"], n["label"]) for n in around["neighbours"]] == [("Acme", "fact", "works for")]
