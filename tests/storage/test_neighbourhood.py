"""The neighbourhood of a name is what the graph holds around it, counted by hand."""

from mnemic.storage.neighbourhood import neighbourhood
from mnemic.storage.records import Event
from mnemic.storage.store import MemoryStore


def test_facts_come_first_then_names_in_one_sentence(store: MemoryStore) -> None:
    store.add(Event("Ada works at Acme.", facts=[("Ada", "works at", "Acme")]))
    store.add(Event("So does Bob.", facts=[("Bob", "knows", "Ada")]))
    store.add(["Ada Lovelace met Charles Babbage, then saw London.", "Ada Lovelace liked London."])
    around = neighbourhood(store.view(), "ada", 10)
    assert [(n.name, n.kind, n.label, n.outward) for n in around.neighbours] == [
        ("Acme", "fact", "works at", True),
        ("Bob", "fact", "knows", False),
    ]
    assert around.names == ("Ada",)
    spoken = neighbourhood(store.view(), "Ada Lovelace", 10)
    assert [(n.name, n.kind, n.weight) for n in spoken.neighbours] == [
        ("London", "cooccur", 2.0),
        ("Charles Babbage", "cooccur", 1.0),
    ]
    assert spoken.passages == 2
    assert len(neighbourhood(store.view(), "Ada Lovelace", 1).neighbours) == 1


def test_a_name_that_nobody_has_stands_alone(store: MemoryStore) -> None:
    assert neighbourhood(store.view(), "nobody", 10).names == ()
    store.add("Ada met Bob.")
    assert neighbourhood(store.view(), "nobody", 10).neighbours == ()
