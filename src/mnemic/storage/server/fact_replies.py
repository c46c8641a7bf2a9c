"""What the server answers about facts and the graph. Times are ISO 8601, UTC."""

from dataclasses import asdict
from typing import Literal

from pydantic import BaseModel, Field

from mnemic.storage.neighbourhood import Neighbourhood
from mnemic.storage.records import FactRecord
from mnemic.storage.times import iso

__all__ = ["FactReply", "FactsReply", "GraphReply", "SupersedeReply", "fact_reply", "graph_reply"]


class FactReply(BaseModel):
    """A fact with both of its times: when it holds, and when the store knew it."""

    id: str
    subject: str
    predicate: str
    object: str
    valid_from: str | None
    valid_to: str | None
    recorded_at: str | None
    retracted_at: str | None = Field(description="since when the store no longer claims it")
    superseded_by: str | None = Field(description="the id of the fact that took its place")
    confidence: float | None
    extractor: str = Field(description="who found it: given, rules/1, a model's name; user where no event states it")
    events: list[str] = Field(description="ids of the events that state it")
    version: int = Field(description="1 until it is superseded or retracted, then 2")


def fact_reply(fact: FactRecord) -> FactReply:
    names = ("valid_from", "valid_to", "recorded_at", "retracted_at")
    times = {name: iso(getattr(fact, name)) for name in names}
    return FactReply(**{**asdict(fact), **times, "version": fact.version})


class FactsReply(BaseModel):
    """Facts in the order in which the store learnt them."""

    facts: list[FactReply]
    total: int = Field(description="how many there are; `limit` of them are told")


class SupersedeReply(BaseModel):
    """The fact that holds from now on."""

    id: str


class NeighbourReply(BaseModel):
    """Something that is one step away."""

    name: str
    kind: Literal["fact", "cooccur", "synonym"]
    label: str = Field(description="the predicate of a fact")
    weight: float = Field(description="passages that state it, sentences with both names, cosine of the names")
    outward: bool = Field(description="the entity that was asked for is the subject")


class GraphReply(BaseModel):
    """What stands around an entity. `cooccur` means no more than that both names stand in one sentence."""

    entity: str
    names: list[str] = Field(description="as it was written; empty where nothing has that name")
    passages: int
    neighbours: list[NeighbourReply]


def graph_reply(entity: str, around: Neighbourhood) -> GraphReply:
    near = [NeighbourReply(**asdict(each)) for each in around.neighbours]
    return GraphReply(entity=entity, names=list(around.names), passages=around.passages, neighbours=near)
