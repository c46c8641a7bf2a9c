"""The method that fits what a tenant holds: conversations or titled passages."""

from dataclasses import dataclass, replace

from mnemic.storage.recall.hybrid import Hybrid
from mnemic.storage.recall.rule_graph import RuleGraph
from mnemic.storage.view import Method, Query, Scored, View

__all__ = ["Auto"]


@dataclass(frozen=True)
class Auto:
    """Encyclopaedic text wants a walk over its names, everything else words and vectors together."""

    name: str = "auto"

    def choose(self, view: View) -> tuple[Method, str]:
        """The method, and why."""
        count = len(view.passages)
        titled = sum(bool(passage.title) and not passage.session for passage in view.passages)
        spoken = sum(bool(passage.session) for passage in view.passages)
        if titled * 2 > count and len(view.cooccurrences.first):
            return RuleGraph(), f"{titled} of {count} passages have a title and stand in no conversation"
        reason = f"{spoken} of {count} passages stand in conversations" if spoken else "few passages have a title"
        return Hybrid(), reason

    def recall(self, view: View, query: Query, k: int) -> list[Scored]:
        method, reason = view.once("auto", self.choose)
        chosen = f"auto: {method.name}, as {reason}"
        return [replace(hit, path=(chosen, *hit.path)) for hit in method.recall(view, query, k)]
