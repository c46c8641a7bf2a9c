"""A store in LangChain: a retriever, and the messages of a conversation kept in a session of the store."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ConfigDict

from mnemic.errors import MissingExtra, UsageError
from mnemic.storage.records import Event, Hit
from mnemic.storage.store import MemoryStore
from mnemic.storage.summaries import SOURCE
from mnemic.storage.times import now

try:
    from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
    from langchain_core.chat_history import BaseChatMessageHistory
    from langchain_core.documents import Document
    from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict
    from langchain_core.retrievers import BaseRetriever
except ModuleNotFoundError:
    raise MissingExtra("mnemic.integrations.langchain", "langchain") from None

__all__ = ["StoreMessageHistory", "StoreRetriever"]


class StoreRetriever(BaseRetriever):
    """What a store recalls, as documents, best first.

    A document's metadata holds the provenance of its hit, and `score`, `parts` and `path`, which say why it was found.

    Attributes:
        store: stays the caller's to close.
        k, method, filters: as `MemoryStore.search` takes them.
    """

    store: MemoryStore
    k: int = 10
    method: str = "auto"
    filters: Mapping[str, str] | None = None

    model_config = ConfigDict(arbitrary_types_allowed=True)

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        hits = self.store.search(query, k=self.k, method=self.method, filters=self.filters)
        return [_document(hit) for hit in hits]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        return await asyncio.to_thread(self._get_relevant_documents, query, run_manager=run_manager.get_sync())


def _document(hit: Hit) -> Document:
    why = {"score": hit.score, "parts": dict(hit.parts), "path": list(hit.path)}
    return Document(id=hit.id, page_content=hit.text, metadata={**hit.provenance, **why})


class StoreMessageHistory(BaseChatMessageHistory):
    """The messages of one conversation, which every recall method of the store finds as well.

    Args:
        session: the conversation; a store may hold many.
        summarise: leave a job that sums the session up, see `MemoryStore.add`.
    """

    def __init__(self, store: MemoryStore, session: str, *, summarise: bool = False) -> None:
        self._store, self._session, self._summarise = store, session, summarise

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # the base class declares a plain attribute
        """In the order in which they came; those that were forgotten are not among them."""
        events = self._store.events(filter={"session": self._session})
        return messages_from_dict(
            [_message(event.text, event.actor, event.metadata) for event in events if event.source != SOURCE]
        )

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """
        Raises:
            UsageError: a message cannot be kept; the others are.
        """
        began = now()  # two messages with the same words are two messages
        report = self._store.add(
            [self._event(message, began + number) for number, message in enumerate(messages)],
            summarise=self._summarise,
        )
        for message, item in zip(messages, report.items, strict=True):
            if item.status == "failed":
                raise UsageError(f"message '{message.text[:80]}' cannot be kept: {item.reason}")

    def _event(self, message: BaseMessage, at: int) -> Event:
        kept = message_to_dict(message)
        text = message.text if message.text.strip() else str(kept["data"].get("tool_calls") or message.content)
        time = datetime.fromtimestamp(at // 1_000_000, UTC).replace(microsecond=at % 1_000_000)
        actor = message.name or message.type
        return Event(text, session=self._session, actor=actor, time=time, metadata={"message": kept})

    def clear(self) -> None:
        """Forget the conversation; `MemoryStore.erase` deletes it."""
        self._store.forget(filter={"session": self._session})


def _message(text: str, actor: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """As it was added; what came into the session in another way is told as its actor's."""
    kept = metadata.get("message")
    if isinstance(kept, dict):
        return kept
    kind = actor if actor in ("human", "ai", "system") else "human"
    return {"type": kind, "data": {"content": text, "name": actor or None}}
