"""``/docs``: the OpenAPI document as a page. Open to whoever can reach us; nothing private.

The framework's own page loads its scripts from a CDN. Ours come out of the package
`fastapi-offline`, of which nothing but those files is used; the page may load from nowhere else.
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

_ONLY_OURS = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:"
)


def add_docs(app: FastAPI) -> None:
    """Offer the page. The application's own ``docs_url`` has to be None."""
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
            # It would ask a server on the internet whether the document is valid.
            swagger_ui_parameters={"validatorUrl": None, "persistAuthorization": True},
        )
        page.headers["Content-Security-Policy"] = _ONLY_OURS
        return page


def find_assets() -> Path | None:
    """Where the scripts lie; None where the package is not installed."""
    package = find_spec(PACKAGE.replace("-", "_"))
    places = package.submodule_search_locations if package else None
    return Path(places[0]) / "static" if places else None
