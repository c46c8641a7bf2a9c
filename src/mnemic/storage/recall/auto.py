"""The method that fits what a tenant holds: conversations or titled passages."""

from dataclasses import dataclass, replace

from mnemic.storage.recall.hybrid import Hybrid
from mnemic.storage.recall.rule_graph import RuleGraph
from mnemic.storage.view import Method, Query, Scored, View

__all__ = ["Auto", "mostly_titled"]


@dataclass(frozen=True)
class Auto:
    """Encyclopaedic text wants a walk over its names, everything else words and vectors together."""

    name: str = "auto"

    def choose(self, view: View) -> tuple[Method, str]:
        """The method, and why."""
        count, kinds = len(view.passages), _kinds_of(view)
        if mostly_titled(view) and len(view.cooccurrences.first):
            return RuleGraph(), f"{kinds.titled} of {count} passages have a title and stand in no conversation"
        spoken = f"{kinds.spoken} of {count} passages stand in conversations"
        return Hybrid(), spoken if kinds.spoken else "few passages have a title"

    def recall(self, view: View, query: Query, k: int) -> list[Scored]:
        method, reason = self.choose(view)
        chosen = f"auto: {method.name}, as {reason}"
        return [replace(hit, path=(chosen, *hit.path)) for hit in method.recall(view, query, k)]


@dataclass(frozen=True)
class _Kinds:
    """How many passages stand in a conversation, and how many have a title and do not."""

    spoken: int
    titled: int


def mostly_titled(view: View) -> bool:
    """Whether the graph is wanted, if there is one."""
    return 2 * _kinds_of(view).titled > len(view.passages)


def _kinds_of(view: View) -> _Kinds:
    return view.extended("kinds", _counted)


def _counted(view: View, before: _Kinds | None, first: int) -> _Kinds:
    new = view.passages[first:]
    spoken = sum(bool(passage.session) for passage in new)
    titled = sum(bool(passage.title) and not passage.session for passage in new)
    return _Kinds(spoken, titled) if before is None else _Kinds(before.spoken + spoken, before.titled + titled)
