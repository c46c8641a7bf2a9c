"""A store behind LangChain's own interfaces, run by LangChain."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hashing_encoder import HashingEncoder
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from mnemic.errors import UsageError
from mnemic.integrations.langchain import StoreMessageHistory, StoreRetriever
from mnemic.storage.records import Event
from mnemic.storage.store import MemoryStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    with MemoryStore.open(tmp_path / "memory.db", encoder=HashingEncoder()) as store:
        yield store


def test_what_is_recalled_comes_as_documents_that_say_why(store: MemoryStore) -> None:
    store.add([Event("The cat is Nimbus.", session="s", actor="Anna", time="2024-01-02"), Event("Rain in Oslo.")])
    retriever = StoreRetriever(store=store, k=1, method="hybrid")
    [hit] = store.search("cat", k=1, method="hybrid")
    [found] = retriever.invoke("cat")
    assert (found.page_content, found.id, found.metadata["score"]) == (hit.text, hit.id, hit.score)
    assert found.metadata["parts"] == hit.parts
    assert {name: found.metadata[name] for name in hit.provenance} == hit.provenance
    assert asyncio.run(retriever.ainvoke("cat")) == [found]
    assert retriever.batch(["cat", "Oslo"])[1][0].page_content == "Rain in Oslo."
    chosen = StoreRetriever(store=store, filters={"session": "s"})
    assert [each.page_content for each in chosen.invoke("rain")] == ["Anna: The cat is Nimbus."]
    with pytest.raises(UsageError, match="unknown recall method"):
        StoreRetriever(store=store, method="nope").invoke("cat")


def test_it_stands_in_a_chain_and_callbacks_see_it(store: MemoryStore) -> None:
    store.add("The cat is Nimbus.")
    seen: list[int] = []

    class Handler(BaseCallbackHandler):
        def on_retriever_end(self, documents, **kwargs):  # type: ignore[no-untyped-def]
            seen.append(len(documents))

    chain = StoreRetriever(store=store) | RunnableLambda(lambda documents: documents[0].page_content.upper())
    assert chain.invoke("cat", config={"callbacks": [Handler()]}) == "THE CAT IS NIMBUS."
    assert seen == [1]


def test_messages_come_back_as_they_were(store: MemoryStore) -> None:
    history = StoreMessageHistory(store, "chat")
    call = {"name": "weather", "args": {"city": "Oslo"}, "id": "1", "type": "tool_call"}
    messages = [
        SystemMessage("Be kind."),
        HumanMessage("ok", name="Anna"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("rain", tool_call_id="1"),
        HumanMessage("ok", name="Anna"),
        AIMessage([{"type": "text", "text": "Take an umbrella."}]),
    ]
    history.add_messages(messages[:3])
    StoreMessageHistory(store, "other").add_messages([HumanMessage("elsewhere")])
    asyncio.run(history.aadd_messages(messages[3:]))
    assert history.messages == messages
    assert asyncio.run(StoreMessageHistory(store, "chat").aget_messages()) == messages
    assert store.search("umbrellas", method="bm25", k=1)[0].text == "ai: Take an umbrella."
    store.add(Event("By hand.", session="chat", actor="ai", time="2124-01-01"))
    assert history.messages[-1] == AIMessage("By hand.", name="ai")
    history.clear()
    assert history.messages == []
    assert [message.content for message in StoreMessageHistory(store, "other").messages] == ["elsewhere"]


def test_what_cannot_be_kept_is_said_and_keeps_no_other_back(store: MemoryStore) -> None:
    history = StoreMessageHistory(store, "chat")
    with pytest.raises(UsageError, match="NUL"):
        history.add_messages([HumanMessage("good"), HumanMessage("bad\0"), HumanMessage("fine")])
    assert [message.content for message in history.messages] == ["good", "fine"]


def test_langchain_keeps_a_conversation_in_it(store: MemoryStore) -> None:
    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("past"), ("human", "{said}")])
    chain = RunnableWithMessageHistory(
        prompt | FakeListChatModel(responses=["Hello Anna.", "You are Anna."]),
        lambda session_id: StoreMessageHistory(store, session_id),
        input_messages_key="said",
        history_messages_key="past",
    )
    for said in ("I am Anna.", "Who am I?"):
        chain.invoke({"said": said}, config={"configurable": {"session_id": "a"}})
    told = [message.content for message in StoreMessageHistory(store, "a").messages]
    assert told == ["I am Anna.", "Hello Anna.", "Who am I?", "You are Anna."]
