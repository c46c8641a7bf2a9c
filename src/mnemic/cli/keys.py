"""`mnemic keys`: who may ask a server for which memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mnemic.cli.memory.options import json_option, store_option, store_options

if TYPE_CHECKING:
    from mnemic.storage.api_keys import ApiKey
    from mnemic.storage.backend import Backend

__all__ = ["command"]


@click.group("keys")
def command() -> None:
    """Keys for `mnemic serve`: each opens the memory of one tenant, on every server of the store.

    \b
    mnemic keys add laptop --tenant anna
    mnemic keys list
    """


@command.command("add", context_settings={"show_default": True})
@click.argument("name")
@store_options
@json_option
def add(name: str, location: str, tenant: str, as_json: bool) -> None:
    """Make a key for what NAME says, such as a device. It is shown once: the store keeps a hash of it."""
    from mnemic.storage.api_keys import make_key

    with _backend(location) as backend:
        key, about = make_key(backend, tenant, name)
    if as_json:
        click.echo(json.dumps({"key": key, **_shown(about)}, ensure_ascii=False))
        return
    click.echo(key)
    click.echo(f"it opens the memory of tenant '{tenant}', and is not shown again", err=True)


@command.command("list", context_settings={"show_default": True})
@store_option
@json_option
def show(location: str, as_json: bool) -> None:
    """All keys of the store, by their ids."""
    from mnemic.storage.api_keys import list_keys

    with _backend(location) as backend:
        found = list_keys(backend)
    if as_json:
        click.echo(json.dumps({"keys": [_shown(key) for key in found]}, ensure_ascii=False))
        return
    for key in found:
        told = _shown(key)
        revoked = f"  revoked {told['revoked_at']}" if key.revoked_at is not None else ""
        click.echo(f"{key.id}  {key.tenant}  {key.name}  {told['created_at']}{revoked}")
    if not found:
        click.echo("no keys; `mnemic keys add NAME` makes one", err=True)


@command.command("revoke", context_settings={"show_default": True})
@click.argument("key_id", metavar="ID")
@store_option
@json_option
def revoke(key_id: str, location: str, as_json: bool) -> None:
    """From now on the key of this ID opens nothing."""
    from mnemic.storage.api_keys import revoke_key

    with _backend(location) as backend:
        key = revoke_key(backend, key_id)
    click.echo(json.dumps(_shown(key), ensure_ascii=False) if as_json else f"{key.id} ({key.name}) opens nothing now")


@contextmanager
def _backend(location: str) -> Iterator[Backend]:
    from mnemic.storage.opening import open_backend

    backend = open_backend(location, read_only=False, durability="full", secure_delete=False)
    try:
        yield backend
    finally:
        backend.close()


def _shown(key: ApiKey) -> dict[str, Any]:
    from mnemic.storage.times import iso

    return asdict(key) | {"created_at": iso(key.created_at), "revoked_at": iso(key.revoked_at)}
