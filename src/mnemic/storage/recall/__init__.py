"""Recall methods by name. Each is loaded when it is asked for."""

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any

from mnemic.errors import UsageError, nearest
from mnemic.storage.view import Method

__all__ = ["DEFAULT_METHOD", "METHODS", "open_method"]

DEFAULT_METHOD = "auto"
METHODS: Mapping[str, str] = {
    "auto": "auto:Auto",
    "best-turn": "best_turn:BestTurn",
    "bm25": "bm25:BM25",
    "dense": "dense:Dense",
    "hipporag": "hipporag:HippoRAG",
    "hipporag2": "hipporag2:HippoRAG2",
    "hybrid": "hybrid:Hybrid",
    "memgas": "memgas:MemGAS",
    "rule-graph": "rule_graph:RuleGraph",
}


def open_method(name: str = DEFAULT_METHOD, **options: Any) -> Method:
    """The method of a name.

    Args:
        options: attributes of its class, such as `damping`.

    Raises:
        UsageError: no such method or option.
    """
    if name not in METHODS:
        raise UsageError(f"unknown recall method '{name}'{nearest(name, METHODS)}")
    module, _, made = METHODS[name].partition(":")
    kind = getattr(import_module(f"mnemic.storage.recall.{module}"), made)
    known = set(signature(kind).parameters) - {"name"}
    for option in options:
        if option not in known:
            raise UsageError(f"recall method '{name}' has no option '{option}'{nearest(option, known)}")
    method: Method = kind(**options)
    return method
