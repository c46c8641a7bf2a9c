"""A store in LlamaIndex: a retriever whose nodes are what the store recalls."""

import asyncio
from collections.abc import Mapping
from typing import Any

from mnemic.errors import MissingExtra
from mnemic.storage.records import Hit
from mnemic.storage.store import MemoryStore

try:
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
except ModuleNotFoundError:
    raise MissingExtra("mnemic.integrations.llama_index", "llama-index") from None

__all__ = ["StoreRetriever"]

_FOR_PEOPLE = ["parts", "path", "event"]


class StoreRetriever(BaseRetriever):
    """What a store recalls, as nodes with scores, best first.

    A node's metadata holds the provenance of its hit, and `parts` and `path`, which say why it was found and are shown
    to no model.

    Args:
        store: stays the caller's to close.
        k, method, filters: as `MemoryStore.search` takes them.
        more: what the base class takes, such as `callback_manager`.
    """

    def __init__(
        self,
        store: MemoryStore,
        *,
        k: int = 10,
        method: str = "auto",
        filters: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self._store, self._k, self._method, self._filters = store, k, method, filters

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self._store.search(query_bundle.query_str, k=self._k, method=self._method, filters=self._filters)
        return [_node(hit) for hit in hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _node(hit: Hit) -> NodeWithScore:
    node = TextNode(
        id_=hit.id,
        text=hit.text,
        metadata={**hit.provenance, "parts": dict(hit.parts), "path": list(hit.path)},
        excluded_llm_metadata_keys=_FOR_PEOPLE,
        excluded_embed_metadata_keys=_FOR_PEOPLE,
    )
    return NodeWithScore(node=node, score=hit.score)
