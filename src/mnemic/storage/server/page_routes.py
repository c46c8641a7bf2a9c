"""The page at /: static files that ask the REST API from the reader's browser."""

from importlib.resources import files

from fastapi import FastAPI
from fastapi.exceptions import HTTPException
from fastapi.responses import Response

__all__ = ["add_page_routes"]

_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_HEADERS = {
    # nothing from elsewhere, no script or style but the files here, in nobody's frame
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def add_page_routes(app: FastAPI) -> None:
    pages = {page.name: page.read_bytes() for page in files(__package__).joinpath("page").iterdir() if page.is_file()}

    async def index() -> Response:
        return _answer("index.html", pages["index.html"])

    async def part(name: str) -> Response:
        if name not in pages:
            raise HTTPException(404)
        return _answer(name, pages[name])

    app.add_api_route("/", index, methods=["GET"], include_in_schema=False)
    app.add_api_route("/page/{name}", part, methods=["GET"], include_in_schema=False)


def _answer(name: str, content: bytes) -> Response:
    return Response(content, media_type=f"{_KINDS[name.rpartition('.')[2]]}; charset=utf-8", headers=_HEADERS)
