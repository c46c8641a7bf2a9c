"""Recall methods by name. Each is loaded when it is asked for."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

from mnemic.catalogue import SYSTEMS, resolve
from mnemic.errors import UsageError, nearest
from mnemic.storage.view import Method

__all__ = ["DEFAULT_METHOD", "METHODS", "method_class", "open_method"]

DEFAULT_METHOD = "auto"
METHODS: Mapping[str, str] = {name: system.target for name, system in SYSTEMS.items() if system.place == "storage"}
"""Name -> "module:Class"."""


def method_class(name: str) -> type[Any]:
    """
    Raises:
        UsageError: no such method.
    """
    if name not in METHODS:
        raise UsageError(f"unknown recall method '{name}'{nearest(name, METHODS)}")
    kind: type[Any] = resolve(METHODS[name])
    return kind


def open_method(name: str = DEFAULT_METHOD, **options: Any) -> Method:
    """The method of a name.

    Args:
        options: attributes of its class, such as `damping`.

    Raises:
        UsageError: no such method or option.
    """
    kind = method_class(name)
    known = set(signature(kind).parameters) - {"name"}
    for option in options:
        if option not in known:
            raise UsageError(f"recall method '{name}' has no option '{option}'{nearest(option, known)}")
    method: Method = kind(**options)
    return method
