"""``/docs``: Swagger UI for the OpenAPI document. Public, without private data.

FastAPI's own page loads its scripts from a CDN. Here they come from the static files of the package
`fastapi-offline`, and the Content-Security-Policy forbids any other source.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.staticfiles import StaticFiles

from app.errors import NotFound

PATH = "/docs"
ASSETS = f"{PATH}/assets"
PACKAGE = "fastapi-offline"

_CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:"
)


def add_docs(app: FastAPI) -> None:
    """Add the page. The application's own ``docs_url`` has to be None."""
    assets = find_assets()
    if assets is not None:
        app.mount(ASSETS, StaticFiles(directory=assets), name="docs assets")

    @app.get(PATH, include_in_schema=False)
    async def docs(request: Request) -> Response:
        if assets is None:
            raise NotFound(f"The page needs the package {PACKAGE}; /openapi.json needs nothing")
        root = request.scope.get("root_path", "").rstrip("/")
        page = get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=app.title,
            swagger_js_url=f"{root}{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{root}{ASSETS}/favicon.png",
            # The validator would send the document to a server on the internet.
            swagger_ui_parameters={"validatorUrl": None, "persistAuthorization": True},
        )
        page.headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
        return page


def find_assets() -> Path | None:
    """The directory of the scripts; None if the package is not installed."""
    package = find_spec(PACKAGE.replace("-", "_"))
    places = package.submodule_search_locations if package else None
    return Path(places[0]) / "static" if places else None
