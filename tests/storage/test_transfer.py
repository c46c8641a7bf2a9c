"""A tenant moved to another store, and another encoder."""

from pathlib import Path

import pytest
from hashing_encoder import HashingEncoder

from mnemic.errors import MnemicError, UsageError
from mnemic.storage.records import Event, NewFact
from mnemic.storage.store import MemoryStore


@pytest.fixture
def filled(store: MemoryStore) -> MemoryStore:
    store.add(
        [
            Event(f"Turn {i} of Anna Berg in Berlin.", session="s", actor="Anna", time=f"2024-01-{i:02}")
            for i in range(1, 9)
        ]
    )
    store.add(Event("Acme Corporation is in Berlin. " * 200, title="Acme Corporation", metadata={"page": 3}))
    store.add("Ada is at Acme.", facts=[NewFact("Ada", "is at", "Acme", valid_from="2020-01-01")], idempotency_key="k")
    store.supersede(store.facts()[0].id, NewFact("Ada", "is at", "Globex", valid_from="2024-01-01"))
    store.forget(ids=[store.search("Turn 3", method="bm25", k=1)[0].provenance["event"]])
    return store


def test_an_export_imported_is_the_same_memory(filled: MemoryStore, tmp_path: Path) -> None:
    count = filled.export(tmp_path / "all.jsonl")
    assert count == 10
    with MemoryStore.open(tmp_path / "other.db", encoder=HashingEncoder()) as other:
        report = other.import_(tmp_path / "all.jsonl")
        assert (report.events, report.facts, report.duplicates) == (10, 3, 0)
        assert other.digest() == filled.digest()
        assert other.check() == []
        assert other.facts() == filled.facts()
        old, new = filled.history(limit=999), other.history(limit=999)
        assert [entry for entry in new if entry in old] == old
        assert {entry.action for entry in new if entry not in old} == {"add"}
        for event in {hit.provenance["event"] for hit in filled.search("Berlin", method="bm25", k=50)}:
            assert other.get(event) == filled.get(event)
        again = other.import_(tmp_path / "all.jsonl")
        assert (again.events, again.facts, again.duplicates) == (0, 0, 13)
        assert other.history(limit=999) == new
        assert other.add("anything", idempotency_key="k").duplicates == 1


def test_an_export_that_was_cut_or_changed_is_not_imported(filled: MemoryStore, tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    filled.export(path)
    whole = path.read_bytes()
    with MemoryStore.open(tmp_path / "other.db", encoder=HashingEncoder()) as other:
        for damaged in (whole[:-200], whole.replace(b"Turn 2", b"Turn 7"), b"\n".join(whole.split(b"\n")[:-3]), b""):
            path.write_bytes(damaged)
            with pytest.raises(MnemicError, match="cut off or was changed"):
                other.import_(path)
        path.write_bytes(b'{"text": "something else"}\n' * 3)
        with pytest.raises(UsageError, match="no export"):
            other.import_(path)
        path.write_bytes(whole.replace(b'"format": 1', b'"format": 9'))
        with pytest.raises(UsageError, match="format 9"):
            other.import_(path)
        assert other.stats().events == 0


def test_nothing_is_written_over(filled: MemoryStore, tmp_path: Path) -> None:
    target = tmp_path / "there"
    target.write_text("mine")
    for write in (filled.export, filled.backup):
        with pytest.raises(UsageError, match="exists"):
            write(target)
    assert target.read_text() == "mine"


def test_another_encoder_changes_vectors_and_nothing_else(filled: MemoryStore, tmp_path: Path) -> None:
    facts, found = filled.facts(), [hit.id for hit in filled.search("Berlin", method="bm25", k=50)]
    made = filled.reembed(HashingEncoder("wider", 48))
    assert made == filled.stats().passages
    assert filled.stats().encoder == "wider"
    assert filled.facts() == facts
    assert [hit.id for hit in filled.search("Berlin", method="bm25", k=50)] == found
    assert filled.search("Ada is at Acme", method="dense", k=1)[0].text == "Ada is at Acme."
    assert filled.add("Something new about Ada").stored == 1
    assert filled.reembed(HashingEncoder("wider", 48)) == 0
