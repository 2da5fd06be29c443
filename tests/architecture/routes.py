"""Every route there is, read off the application: a new one is tested without being named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pydantic import SecretStr
from starlette.routing import BaseRoute, Mount, Route

from app.main import create_app
from app.settings import Settings
from app.web.caller import Scope
from app.web.routing import KeyedRoute, required_scopes

ANY_ID = "0193e0c4-0000-7000-8000-000000000001"


class Offered(NamedTuple):
    """One method of one route. ``scope`` is None where no key is asked for."""

    method: str
    path: str
    scope: Scope | None

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
        scope = None
        if isinstance(route, KeyedRoute):
            (name,) = required_scopes(route.dependant)
            scope = Scope(name)
        found += [Offered(method, route.path, scope) for method in sorted(route.methods or ())]
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
