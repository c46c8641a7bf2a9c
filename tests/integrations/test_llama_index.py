"""A store behind LlamaIndex's retriever, run by LlamaIndex."""

import asyncio
from pathlib import Path

import pytest
from hashing_encoder import HashingEncoder
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import MetadataMode

from mnemic.errors import UsageError
from mnemic.integrations.llama_index import StoreRetriever
from mnemic.storage.records import Event
from mnemic.storage.store import MemoryStore


def test_what_is_recalled_comes_as_nodes_with_scores(tmp_path: Path) -> None:
    with MemoryStore.open(tmp_path / "memory.db", encoder=HashingEncoder()) as store:
        store.add([Event("The cat is Nimbus.", session="s", actor="Anna", time="2024-01-02"), Event("Rain in Oslo.")])
        retriever = StoreRetriever(store, k=1, method="hybrid")
        [hit] = store.search("cat", k=1, method="hybrid")
        [found] = retriever.retrieve("cat")
        assert (found.text, found.node_id, found.score) == (hit.text, hit.id, hit.score)
        assert {name: found.metadata[name] for name in hit.provenance} == hit.provenance
        shown = found.node.get_content(MetadataMode.LLM)
        assert "actor: Anna" in shown
        assert "parts" not in shown
        assert [node.node_id for node in asyncio.run(retriever.aretrieve("cat"))] == [hit.id]
        chosen = StoreRetriever(store, filters={"session": "s"})
        assert [node.text for node in chosen.retrieve("rain")] == ["Anna: The cat is Nimbus."]
        with pytest.raises(UsageError, match="unknown recall method"):
            StoreRetriever(store, method="nope").retrieve("cat")


def test_it_stands_in_a_query_engine(tmp_path: Path) -> None:
    with MemoryStore.open(tmp_path / "memory.db", encoder=HashingEncoder()) as store:
        store.add(["The cat is Nimbus.", "Rain in Oslo."])
        engine = RetrieverQueryEngine.from_args(StoreRetriever(store, k=1), llm=MockLLM())
        answer = engine.query("Who is the cat?")
        assert [node.text for node in answer.source_nodes] == ["The cat is Nimbus."]
        assert "Nimbus" in str(answer)
