"""Events over HTTP: what was acknowledged is there, once, and goes when it is told to."""

from store_server import StoreServer

CHAT = [
    {"text": "My cat is called Nimbus.", "session": "monday", "actor": "Anna", "time": "2026-01-05T10:00:00Z"},
    {"text": "Mine has no name yet.", "session": "monday", "actor": "Bela", "time": "2026-01-05T10:01:00Z"},
    {"text": "I moved to Oslo this week.", "session": "friday", "actor": "Anna", "time": "2026-01-09T09:00:00Z"},
]


def test_what_was_added_is_found_with_its_reasons(server: StoreServer) -> None:
    anna = server.client()
    added = anna.post("/v1/events", json={"events": CHAT}).json()
    assert (added["stored"], added["duplicates"], added["failed"]) == (3, 0, 0)
    reply = anna.post("/v1/search", json={"query": "cat called Nimbus", "k": 1, "explain": True}).json()
    [hit] = reply["hits"]
    assert hit["text"] == "Anna: My cat is called Nimbus."
    assert hit["provenance"] == {
        "event": added["items"][0]["id"], "source": "", "session": "monday", "actor": "Anna",
        "time": "2026-01-05T10:00:00Z", "title": "", "level": "turn",
    }  # fmt: skip
    assert hit["path"][0].startswith("auto: hybrid")
    assert set(hit["parts"]) >= {"keyword", "vector"}
    assert anna.post("/v1/search", json={"query": "cat", "k": 1}).json()["hits"][0]["path"] is None
    event = anna.get(f"/v1/events/{added['items'][0]['id']}").json()
    assert (event["text"], event["time"], event["version"]) == (CHAT[0]["text"], CHAT[0]["time"], 1)


def test_every_method_times_and_filters_choose(server: StoreServer) -> None:
    anna = server.client()
    anna.post("/v1/events", json={"events": CHAT})

    def found(**body: object) -> list[str]:
        reply = anna.post("/v1/search", json={"query": "Oslo cat name", "method": "bm25", **body})
        assert reply.status_code == 200, reply.text
        return sorted(hit["provenance"]["actor"] for hit in reply.json()["hits"])

    assert found() == ["Anna", "Anna", "Bela"]
    assert found(at="2026-01-06") == ["Anna", "Bela"]
    assert found(known_at="2020-01-01") == []
    assert found(filters={"session": "friday"}) == ["Anna"]
    assert found(filters={"actor": "Bela", "session": "monday"}) == ["Bela"]
    for method in ("hybrid", "dense", "best-turn", "rule-graph", "hipporag", "hipporag2", "memgas", "auto"):
        assert found(method=method), method


def test_the_same_again_is_a_duplicate_and_one_bad_event_keeps_no_other_back(server: StoreServer) -> None:
    anna = server.client()
    first = anna.post("/v1/events", json={"events": CHAT}).json()
    mixed = [CHAT[0], {"text": " "}, {"text": "a\0b"}, {"text": "new", "time": "someday"}, {"text": "Good."}]
    again = anna.post("/v1/events", json={"events": mixed}).json()
    assert [item["status"] for item in again["items"]] == ["duplicate", "failed", "failed", "failed", "stored"]
    assert again["items"][0]["id"] == first["items"][0]["id"]
    assert [word in again["items"][i]["reason"] for i, word in ((1, "empty"), (2, "NUL"), (3, "someday"))] == [True] * 3
    assert anna.get("/v1/stats").json()["events"] == 4


def test_a_key_of_a_request_is_kept_to_its_events(server: StoreServer) -> None:
    anna, key = server.client(), {"Idempotency-Key": "batch-1"}
    first = anna.post("/v1/events", json={"events": CHAT}, headers=key).json()
    again = anna.post("/v1/events", json={"events": CHAT}, headers=key).json()
    assert [item["id"] for item in again["items"]] == [item["id"] for item in first["items"]]
    assert again["duplicates"] == 3
    other = anna.post("/v1/events", json={"events": [{"text": "Something else."}]}, headers=key).json()
    assert other["failed"] == 1
    assert "Idempotency-Key" in other["items"][0]["reason"]
    assert anna.get("/v1/stats").json()["events"] == 3


def test_forgotten_is_found_no_more_and_erased_is_gone(server: StoreServer) -> None:
    anna = server.client()
    ids = [item["id"] for item in anna.post("/v1/events", json={"events": CHAT}).json()["items"]]
    assert anna.delete(f"/v1/events/{ids[0]}").json() == {"forgotten": 1}
    assert anna.post("/v1/search", json={"query": "Nimbus", "method": "bm25"}).json()["hits"] == []
    assert anna.get(f"/v1/events/{ids[0]}").json()["forgotten_at"] is not None
    assert anna.delete(f"/v1/events/{ids[0]}", params={"erase": True}).json()["events"] == 1
    assert anna.get(f"/v1/events/{ids[0]}").status_code == 404
    assert anna.delete("/v1/events", params={"session": "monday", "erase": True}).json()["events"] == 1
    assert anna.delete("/v1/events", params={"session": "friday", "actor": "Bela"}).json() == {"forgotten": 0}
    assert anna.delete("/v1/subjects/Oslo").json()["events"] == 1
    assert anna.get("/v1/stats").json()["events"] == 0
    history = anna.get("/v1/history", params={"id": ids[0]}).json()["history"]
    assert [entry["action"] for entry in history] == ["erase", "forget", "add"]
    assert all("anna's" in entry["actor"] for entry in history)
    assert history[0]["before"] is history[2]["after"] is None
    anna.post("/v1/events", json={"events": CHAT})
    assert anna.delete("/v1/events", params={"everything": True, "erase": True}).json()["events"] == 3


def test_a_mistyped_choice_deletes_nothing(server: StoreServer) -> None:
    anna = server.client()
    anna.post("/v1/events", json={"events": CHAT})
    for wrong in ({}, {"sesion": "monday"}, {"everything": True}, {"everything": True, "erase": True, "actor": "Bela"}):
        assert anna.delete("/v1/events", params=wrong).status_code == 422, wrong
    assert anna.get("/v1/stats").json()["events"] == 3


def test_metadata_changes_for_who_has_read_the_last(server: StoreServer) -> None:
    anna = server.client()
    [item] = anna.post("/v1/events", json={"events": [{"text": "A text.", "metadata": {"page": 1}}]}).json()["items"]
    path, body = f"/v1/events/{item['id']}", {"metadata": {"page": 2}, "expected_version": 1}
    assert anna.patch(path, json=body).json() == {"id": item["id"], "version": 2}
    stale = anna.patch(path, json=body)
    assert stale.status_code == 409
    assert "version 2, not 1" in stale.json()["detail"]
    assert anna.get(path).json()["metadata"] == {"page": 2}
