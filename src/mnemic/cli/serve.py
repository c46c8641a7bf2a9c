"""`mnemic serve`: the store over REST and MCP."""

from __future__ import annotations

import json
import logging
import socket
import sys
from ipaddress import ip_address
from typing import TYPE_CHECKING

import click

from mnemic.cli.listening import base_url, listening
from mnemic.cli.llm_server import LLM_KEY
from mnemic.cli.memory.options import llm_client, store_options
from mnemic.errors import UsageError

if TYPE_CHECKING:
    from mnemic.llm import LLMClient
    from mnemic.storage.server.stores import Stores

__all__ = ["command"]


@click.command("serve", context_settings={"show_default": True})
@store_options
@click.option("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 for everybody, which needs keys.")
@click.option("--port", type=click.IntRange(0, 65535), default=8420, help="Port; 0 for any that is free.")
@click.option("--mcp", "stdio", is_flag=True, help="Speak MCP on standard input and output instead of HTTP.")
@click.option("--url", metavar="URL", help="With --mcp: ask that server instead of a store.")
@click.option("--api-key", envvar="MNEMIC_API_KEY", help="With --url: the key for it.  [env: MNEMIC_API_KEY]")
@click.option("--encoder", default="wordllama", help="What embeds texts of tenants that have none yet.")
@click.option(
    "--durability",
    type=click.Choice(["normal", "full"]),
    default="normal",
    help="full waits for the disk at every write of a file; PostgreSQL decides for itself.",
)
@click.option("--llm", metavar="URL", help="OpenAI-compatible server that does jobs when clients ask for it.")
@click.option("--model", metavar="NAME", help="Model of that server.")
@click.option("--api-key-env", metavar="NAME", help=f"Variable that holds its key; {LLM_KEY} if it is set.")
@click.option("--max-body", type=click.IntRange(1, 1024), default=16, help="Largest request, MiB.")
@click.option("--access-log", is_flag=True, help="Log every request on standard error, a line of JSON each.")
@click.option("--json", "as_json", is_flag=True, help="Print the address as JSON once it listens.")
def command(
    location: str,
    tenant: str,
    host: str,
    port: int,
    stdio: bool,
    url: str | None,
    api_key: str | None,
    encoder: str,
    durability: str,
    llm: str | None,
    model: str | None,
    api_key_env: str | None,
    max_body: int,
    access_log: bool,
    as_json: bool,
) -> None:
    """Serve the store: REST under /v1, MCP at /mcp, a page at /, /healthz and /metrics.

    \b
    mnemic serve --store memory.db
    mnemic keys add laptop --tenant anna && mnemic serve --host 0.0.0.0
    mnemic serve --mcp --store memory.db

    A key says whose memory a request is about. While the store has no keys, only this machine is answered, with the
    memory of --tenant.
    """
    if url is not None and not stdio:
        raise UsageError("--url belongs to --mcp, which asks that server")
    if (llm is None) != (model is None):
        raise UsageError("--llm URL and --model NAME belong together")
    if url is not None:
        _speak_for(url, api_key)
        return
    client = None if llm is None or model is None else llm_client("--llm", llm, model, api_key_env)
    if stdio:
        _speak(location, tenant, encoder, durability, client)
        return
    from mnemic.storage.server.app import make_app
    from mnemic.storage.server.running import run_server
    from mnemic.storage.server.stores import Stores

    with listening(host, port) as listener:
        stores = Stores.open(location, encoder=encoder, durability=durability)
        try:
            local = _tenant_without_keys(stores, listener, tenant)
            app = make_app(stores, tenant=local, llm=client, largest_body=max_body * 2**20)
            if access_log:
                _log_requests()
            run_server(app, listener, lambda: _announce(listener, stores.location, local, as_json))
        finally:
            stores.close()


def _tenant_without_keys(stores: Stores, listener: socket.socket, tenant: str) -> str | None:
    """None: keys decide."""
    if stores.has_keys():
        return None
    address = listener.getsockname()[0]
    if not ip_address(address).is_loopback:
        raise UsageError(
            f"store '{stores.location}' has no keys, and {address} is open to others: make one with "
            "`mnemic keys add NAME`, or listen on --host 127.0.0.1"
        )
    stores.of(tenant)  # a wrong name, or an encoder that is not there, is said before anybody asks
    return tenant


def _announce(listener: socket.socket, location: str, tenant: str | None, as_json: bool) -> None:
    url = base_url(listener)
    if tenant is None:
        click.echo("keys decide whose memory is asked; `mnemic keys list` shows them", err=True)
    else:
        click.echo(f"no keys: whoever is on this machine has the memory of tenant '{tenant}'", err=True)
    click.echo(f"{location} on {url} (page), {url}/v1 (REST), {url}/mcp (MCP); Ctrl-C stops it", err=True)
    if as_json:
        click.echo(json.dumps({"url": url, "mcp": f"{url}/mcp", "keys": tenant is None}))


def _log_requests() -> None:
    log, lines = logging.getLogger("mnemic.access"), logging.StreamHandler(sys.stderr)
    lines.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    log.propagate = False


def _speak(location: str, tenant: str, encoder: str, durability: str, client: LLMClient | None) -> None:
    """MCP about a store that this process opens; who may start it may read the file, so no key is asked for."""
    from mnemic.storage.server.app import make_app
    from mnemic.storage.server.calling import in_process
    from mnemic.storage.server.mcp_stdio import speak_mcp
    from mnemic.storage.server.stores import Stores

    stores = Stores.open(location, encoder=encoder, durability=durability)
    try:
        stores.of(tenant)
        speak_mcp(in_process(make_app(stores, tenant=tenant, llm=client, with_mcp=False)))
    finally:
        stores.close()


def _speak_for(url: str, api_key: str | None) -> None:
    from mnemic.storage.server.calling import over_network
    from mnemic.storage.server.mcp_stdio import speak_mcp

    speak_mcp(over_network(url, api_key))
