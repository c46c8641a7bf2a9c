"""What the verbs of the store share: which store, whose memory, and how it is opened."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mnemic.cli.llm_server import endpoint_of
from mnemic.errors import UsageError

if TYPE_CHECKING:
    from mnemic.llm import LLMClient
    from mnemic.storage.store import MemoryStore

__all__ = [
    "chosen_by",
    "json_option",
    "llm_client",
    "open_for_reading",
    "open_for_writing",
    "store_option",
    "store_options",
]

F = TypeVar("F", bound=Callable[..., Any])


def store_options(command: F) -> F:
    """--store and --tenant."""
    tenant = click.option("--tenant", default="default", envvar="MNEMIC_TENANT", help="Whose memory.")
    return store_option(tenant(command))


def store_option(command: F) -> F:
    """--store."""
    return click.option(
        "--store",
        "location",
        default="memory.db",
        envvar="MNEMIC_STORE",
        metavar="FILE|DSN",
        help="The store: a file, or postgresql://…  [env: MNEMIC_STORE]",
    )(command)


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")(command)


def chosen_by(command: F) -> F:
    """Options that choose events by what they are."""
    for field, what in (
        ("source", "came from this source"),
        ("actor", "were said by them"),
        ("session", "belong to it"),
    ):
        command = click.option(f"--{field}", help=f"Events that {what}.")(command)
    return command


def open_for_writing(location: str, tenant: str, encoder: str | None = None) -> MemoryStore:
    """The store, a new one where there is none."""
    from mnemic.storage.store import MemoryStore

    return MemoryStore.open(location, tenant=tenant, encoder=encoder)


def open_for_reading(location: str, tenant: str, encoder: str | None = None) -> MemoryStore:
    """The store, which must be there. It is opened for writing where that goes, to keep what recall derives."""
    from mnemic.storage.opening import is_dsn
    from mnemic.storage.store import MemoryStore

    read_only = False
    if not is_dsn(location):
        path = Path(location)
        if not path.exists():
            raise UsageError(f"store '{location}' does not exist; `mnemic remember FILE --store {location}` makes it")
        read_only = not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
    return MemoryStore.open(location, tenant=tenant, encoder=encoder, read_only=read_only)


def llm_client(
    option: str, server: str, model: str, api_key_env: str | None, max_requests: int | None = None
) -> LLMClient:
    """A client of the language model that does the store's jobs.

    Args:
        option, api_key_env: see `endpoint_of`.
    """
    from mnemic.llm import Budget, LLMClient

    return LLMClient(endpoint_of(option, server, api_key_env), model, budget=Budget(max_requests=max_requests))
