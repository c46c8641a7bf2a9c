"""Facts in both of their times, and the graph that they make."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import FastAPI, Path, Query

from mnemic.storage.neighbourhood import neighbourhood
from mnemic.storage.records import FactRecord
from mnemic.storage.server.access import Memory
from mnemic.storage.server.bodies import FactChosen, GraphQuery, RetractBody, SupersedeBody, TimelineQuery
from mnemic.storage.server.fact_replies import FactsReply, GraphReply, SupersedeReply, fact_reply, graph_reply
from mnemic.storage.server.problems import refusals

__all__ = ["add_fact_routes"]

FactId = Annotated[str, Path(description="the id of a fact", examples=["019b8f2e-6c1d-7a3e-9d0b-3f6f0a1c2d4e"])]


def add_fact_routes(app: FastAPI) -> None:
    app.add_api_route("/v1/facts", facts, methods=["GET"], tags=["facts"], responses=refusals())
    app.add_api_route("/v1/facts/timeline", timeline, methods=["GET"], tags=["facts"], responses=refusals())
    changed = refusals(404, 409, 413, 415)
    for name, answer in (("supersede", supersede), ("retract", retract)):
        path = f"/v1/facts/{{fact_id}}/{name}"
        app.add_api_route(path, answer, methods=["POST"], tags=["facts"], responses=changed)
    app.add_api_route("/v1/graph", graph, methods=["GET"], tags=["facts"], responses=refusals())


def facts(chosen: Annotated[FactChosen, Query()], memory: Memory) -> FactsReply:
    """Facts that hold at `at`, as the store knew them at `known_at`; without a time, all that it claims now."""
    found = memory.facts(chosen.subject, chosen.predicate, at=chosen.at, known_at=chosen.known_at)
    return _some(found, chosen.limit)


def timeline(chosen: Annotated[TimelineQuery, Query()], memory: Memory) -> FactsReply:
    """Every fact that the store has ever claimed, also what was superseded or retracted since."""
    return _some(memory.timeline(chosen.subject, chosen.predicate), chosen.limit)


def _some(found: Sequence[FactRecord], limit: int) -> FactsReply:
    return FactsReply(facts=[fact_reply(fact) for fact in found[:limit]], total=len(found))


def supersede(fact_id: FactId, body: SupersedeBody, memory: Memory) -> SupersedeReply:
    """The fact holds until the new one begins, now unless that says when, and the new one from then on."""
    new = memory.supersede(fact_id, body.fact.new_fact(), expected_version=body.expected_version)
    return SupersedeReply(id=new)


def retract(fact_id: FactId, body: RetractBody, memory: Memory) -> SupersedeReply:
    """The fact never held. What the store knew before is still told for `known_at` before now."""
    memory.retract(fact_id, expected_version=body.expected_version)
    return SupersedeReply(id=fact_id)


def graph(chosen: Annotated[GraphQuery, Query()], memory: Memory) -> GraphReply:
    """What stands around an entity: facts, names in the same sentences, names that mean much the same."""
    return graph_reply(chosen.entity, neighbourhood(memory.view(), chosen.entity, chosen.limit))
