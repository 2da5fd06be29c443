"""Every route there is, read off the application: a new one is tested without being named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pydantic import SecretStr
from starlette.routing import BaseRoute, Mount, Route

from app.main import create_app
from app.model.api_key import Scope
from app.settings import Settings
from app.web.routing import KeyedRoute, allowed_scopes

ANY_ID = "0193e0c4-0000-7000-8000-000000000001"


class Offered(NamedTuple):
    """One method of one route. ``scopes``: a key needs one of them; empty where none is asked."""

    method: str
    path: str
    scopes: frozenset[Scope]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def target(self) -> str:
        """The path with some id wherever it takes one."""
        return re.sub(r"\{[^}]*\}", ANY_ID, self.path)


def offered() -> list[Offered]:
    """All routes but /dlr, which is served in front of the framework."""
    settings = Settings(
        database_url="sqlite:///never-opened.db",
        public_url="http://127.0.0.1:1",
        callback_url_headers=SecretStr("X-Custom-Header: s3cret"),
        iovox_username="someone",
        iovox_secure_key=SecretStr("a-key"),
    )
    found = []
    for route in _flat(create_app(settings).routes):
        names: frozenset[str] = frozenset()
        if isinstance(route, KeyedRoute):
            names = allowed_scopes(route.dependant)
        scopes = frozenset(map(Scope, names))
        found += [Offered(method, route.path, scopes) for method in sorted(route.methods or ())]
    return found


def _flat(routes: list[BaseRoute]) -> Iterator[Route]:
    for route in routes:
        if isinstance(route, Route):
            yield route
        elif isinstance(route, Mount):  # static files, which need no key
            assert not route.path.startswith("/v1"), route.path
        else:  # FastAPI keeps an included router whole
            included = getattr(route, "original_router", None)
            assert included is not None, f"what is {route!r}?"
            yield from _flat(included.routes)
