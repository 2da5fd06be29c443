"""``/openapi.json`` and ``/docs``, Swagger UI for it. Public, without private data.

Both are rendered once and kept: rendered for each request, they would let anybody who pipelines
requests occupy the process.

FastAPI's own page loads its scripts from a CDN. Here they come from the static files of the package
`fastapi-offline`, and the Content-Security-Policy forbids any other source.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from app.errors import NotFound

PATH = "/docs"
DOCUMENT_PATH = "/openapi.json"
ASSETS = f"{PATH}/assets"
PACKAGE = "fastapi-offline"

_CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def add_docs(app: FastAPI) -> None:
    """Add the document and the page. The application's own ``openapi_url`` has to be None."""
    assets = find_assets()
    if assets is not None:
        app.mount(ASSETS, StaticFiles(directory=assets), name="docs assets")

    @cache
    def document() -> bytes:
        return json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode()

    @cache
    def page(root: str) -> bytes:
        html = get_swagger_ui_html(
            openapi_url=f"{root}{DOCUMENT_PATH}",
            title=app.title,
            swagger_js_url=f"{root}{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{root}{ASSETS}/favicon.png",
            # The validator would send the document to a server on the internet.
            swagger_ui_parameters={"validatorUrl": None, "persistAuthorization": True},
        )
        return bytes(html.body)

    @app.head(DOCUMENT_PATH, include_in_schema=False)
    @app.get(DOCUMENT_PATH, include_in_schema=False)
    async def openapi() -> Response:
        return Response(document(), media_type="application/json")

    @app.head(PATH, include_in_schema=False)
    @app.get(PATH, include_in_schema=False)
    async def docs(request: Request) -> Response:
        if assets is None:
            raise NotFound(f"The page needs the package {PACKAGE}; {DOCUMENT_PATH} needs nothing")
        root = request.scope.get("root_path", "").rstrip("/")  # configured, so there is one
        policy = {"Content-Security-Policy": _CONTENT_SECURITY_POLICY}
        return HTMLResponse(page(root), headers=policy)


def find_assets() -> Path | None:
    """The directory of the scripts; None if the package is not installed."""
    package = find_spec(PACKAGE.replace("-", "_"))
    places = package.submodule_search_locations if package else None
    return Path(places[0]) / "static" if places else None
