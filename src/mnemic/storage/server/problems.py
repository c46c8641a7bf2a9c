"""Every error as `application/problem+json` (RFC 9457): what is wrong and what would be right, never a trace."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, StarletteHTTPException
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from mnemic.errors import MissingExtra, MnemicError, UsageError
from mnemic.storage.conflicts import Conflict, NotFound

__all__ = ["FieldProblem", "Problem", "add_problems", "problem", "refusals"]

MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger(__name__)


class FieldProblem(BaseModel):
    """One field that is wrong."""

    field: str = Field(description="where it stands, such as body.events.0.text")
    reason: str = Field(description="what is wrong with it")


class Problem(BaseModel):
    """An error."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not Found",
                    "status": 404,
                    "detail": "event '0198' is not in this store",
                    "errors": [],
                }
            ]
        }
    )

    type: str = Field("about:blank", description="there is no page about it")
    title: str = Field(description="the name of the status")
    status: int = Field(description="the status of HTTP")
    detail: str = Field(description="what is wrong with this request")
    errors: list[FieldProblem] = Field([], description="the fields that are wrong")


_MEANINGS = {
    400: "The request cannot be read.",
    401: "There is no key, or it opens nothing.",
    403: "The request came by way of a foreign web page.",
    404: "There is nothing of that id.",
    409: "It has changed since it was read.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The request can be read, but not be done; `detail` and `errors` say why.",
    503: "The store cannot do it now.",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for OpenAPI; those that any route has are added."""
    return {
        status: {
            "description": _MEANINGS[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({400, 401, 403, 422, 503, *statuses})
    }


def problem(
    status: int, detail: str, *, errors: Sequence[FieldProblem] = (), headers: Mapping[str, str] | None = None
) -> Response:
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=list(errors))
    return JSONResponse(body.model_dump(), status, dict(headers or {}), MEDIA_TYPE)


def add_problems(app: FastAPI) -> None:
    """From here on the app answers every error so."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StarletteHTTPException, _refused)
    app.add_exception_handler(MnemicError, _explained)
    app.add_exception_handler(Exception, _broken)


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    wrong = [
        FieldProblem(field=_printable(".".join(map(str, each["loc"]))), reason=_printable(each["msg"]))
        for each in error.errors()[:20]
    ]
    if any(each["type"] == "json_invalid" for each in error.errors()):
        return problem(400, "the body is not JSON", errors=wrong)
    kind = request.headers.get("content-type", "")
    if "json" not in kind and any(each["loc"] == ("body",) and each["type"] != "missing" for each in error.errors()):
        return problem(415, f"the body is '{kind:.80}'; send JSON, with Content-Type: application/json")
    first = wrong[0] if wrong else FieldProblem(field="request", reason="cannot be used")
    return problem(422, f"{first.field}: {first.reason}", errors=wrong)


async def _refused(request: Request, error: StarletteHTTPException) -> Response:
    detail = str(error.detail)
    if error.status_code == 404 and detail == "Not Found":
        detail = "there is no such path; /openapi.json lists them"
    elif error.status_code == 405:
        allowed = ", ".join(sorted(_methods(request)))
        detail = f"{request.method:.20} cannot be done here; {allowed} can"
        return problem(405, detail, headers={"Allow": allowed})
    return problem(error.status_code, detail, headers=error.headers)


def _methods(request: Request) -> set[str]:
    """What can be done at a path; each method has a route of its own there."""
    fitting = [route for route in request.app.routes if route.path_regex.match(request.url.path)]
    return {method for route in fitting for method in getattr(route, "methods", None) or ()}


async def _explained(request: Request, error: MnemicError) -> Response:
    match error:
        case NotFound():
            status = 404
        case Conflict():
            status = 409
        case UsageError() if not isinstance(error, MissingExtra):
            status = 422
        case _:
            status = 503
            _log.warning("%s %s: %s", request.method, request.url.path, error)
    return problem(status, _printable(str(error)))


async def _broken(request: Request, error: Exception) -> Response:
    """The server itself logs the trace, as nobody else handled the error."""
    return problem(500, "this is a bug in mnemic; the server's log says more")


def _printable(text: str) -> str:
    """Without halves of characters, which no encoding of a reply has."""
    return text.encode("utf-8", "replace").decode()
