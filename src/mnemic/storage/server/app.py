"""The app: REST under /v1, MCP at /mcp, a page at /, health and metrics beside them."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from mnemic.llm import MeteredLLM
from mnemic.storage.server.access import Access, LocalOnly
from mnemic.storage.server.event_routes import add_event_routes
from mnemic.storage.server.fact_routes import add_fact_routes
from mnemic.storage.server.job_counts import JobCounter
from mnemic.storage.server.limits import LARGEST_BODY, BodyLimit
from mnemic.storage.server.metrics import Metrics, Observed
from mnemic.storage.server.operation_routes import add_operation_routes, add_watching_routes
from mnemic.storage.server.page_routes import add_page_routes
from mnemic.storage.server.problems import Problem, add_problems
from mnemic.storage.server.stores import Stores
from mnemic.version import __version__

__all__ = ["make_app"]


def make_app(
    stores: Stores,
    *,
    tenant: str | None = None,
    llm: MeteredLLM | None = None,
    with_mcp: bool = True,
    largest_body: int = LARGEST_BODY,
) -> FastAPI:
    """The server of a store.

    Args:
        stores: whoever made it closes it, after the last request.
        tenant: no keys are asked for, and this is whose memory it is; only this machine is answered then. None: the
            key of each request says whose.
        llm: what does the jobs; None: nobody here.
        with_mcp: also serve MCP, at /mcp.
        largest_body: bytes.
    """
    app = FastAPI(title="mnemic", version=__version__, docs_url=None, redoc_url=None)
    counter = JobCounter(stores.backend)
    app.state.access, app.state.llm = Access(stores, tenant), llm
    app.state.jobs, app.state.metrics = counter, Metrics(counter)
    routes = (add_event_routes, add_fact_routes, add_operation_routes, add_watching_routes, add_page_routes)
    for add_routes in routes:
        add_routes(app)
    if with_mcp:
        from mnemic.storage.server.mcp_route import add_mcp_route  # the SDK takes longest of all to import

        add_mcp_route(app, largest_body=largest_body)
    add_problems(app)
    app.add_middleware(BodyLimit, most=largest_body)
    if tenant is not None:
        app.add_middleware(LocalOnly)
    app.add_middleware(Observed, metrics=app.state.metrics)
    app.openapi = lambda: _described(app)
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    """OpenAPI, with every error as it is really sent."""
    if app.openapi_schema is None:
        about = "Memory for language models. A key says whose memory a request is about; errors are problem+json."
        schema = get_openapi(title=app.title, version=app.version, description=about, routes=app.routes)
        schemas = schema["components"]["schemas"]
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        whole = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= whole.pop("$defs")
        schemas["Problem"] = whole
        app.openapi_schema = schema
    described: dict[str, Any] = app.openapi_schema
    return described
