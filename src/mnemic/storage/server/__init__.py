"""The store behind HTTP: REST, MCP and a page to look at it. `app.make_app` makes it, `running` serves it."""

from importlib.util import find_spec

from mnemic.errors import MissingExtra

__all__: list[str] = []

for _package in ("fastapi", "mcp", "prometheus_client", "uvicorn"):
    if find_spec(_package) is None:
        raise MissingExtra("the store's server", "store-server")
