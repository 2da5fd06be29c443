"""The route class of all routes with an API key. Requests are untrusted until the key is found.

FastAPI reads the body before it solves dependencies. A custom route class, FastAPI's documented way
to run code before that, checks the key and its scopes first, then the query parameters, then reads
the body with its limits. A POST without a body model refuses a body: its sender expects something
that would not happen. The scopes are those of the caller in the endpoint's signature (see
`app.web.caller`). It also sets the region whose national phone numbers are read.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any, get_args

from fastapi import APIRouter, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel

from app.errors import NotAllowed, NotAuthenticated, TooManyRequests
from app.web.actor import actor_of, address_of, where_of
from app.web.body import DEFAULT_LIMIT, Bodies
from app.web.caller import Authenticator, authorization_of
from app.web.failures import Failures
from app.web.numbers import read_national_forms
from app.web.problems import ERRORS_LEFT_OUT
from app.web.query import check_parameters
from app.web.strict_json import require_distinct, require_nothing, without_surplus


class KeyedRoute(APIRoute):
    """A route that requires a key. Its endpoint declares a Caller with the scopes that may call it:
    one of them suffices.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, preceded by the checks before the body."""
        handle = super().get_route_handler()
        dependants = list(_walk(self.dependant))
        scopes = allowed_scopes(self.dependant)
        models: list[type[BaseModel]] = [
            field.field_info.annotation  # type: ignore[misc]  # our routes have no other parameters
            for each in dependants
            for field in each.query_params
        ]
        body_field = self.body_field
        limit = getattr(self.endpoint, "body_limit", DEFAULT_LIMIT)
        path = self.path
        known = names_of(body_field.field_info.annotation) if body_field else frozenset()
        is_required = body_field is not None and body_field.field_info.is_required()
        reads_body = body_field is not None or "POST" in (self.methods or ())

        async def keyed(request: Request) -> Response:
            await _authenticate(request, scopes, f"{request.method} {path}")
            read_national_forms(request.app.state.default_region)
            if request.scope["query_string"]:
                check_parameters(request, models)
            if not reads_body:
                return await handle(request)
            bodies: Bodies = request.app.state.bodies
            with bodies.reserve(request.state.caller.key_id) as reservation:
                read = await bodies.json(request, reservation, limit, is_required=is_required)
                require_distinct(read.value)
                if body_field is None:
                    require_nothing(read.value)
                read.value, left_out = without_surplus(read.value, known)
                setattr(request.state, ERRORS_LEFT_OUT, left_out)
                return await handle(read)

        return keyed


def operation_id(route: APIRoute) -> str:
    """The id of an operation in the OpenAPI document."""
    return route.name


def direct_router(tag: str, *, route_class: type[KeyedRoute] = KeyedRoute) -> APIRouter:
    """A router whose routes `app.main` adds to the application's own, instead of including it.

    FastAPI matches the routes of an included router twice, which costs 10 % of a lookup
    (docs/performance.md). So what the application sets for included routers is set here.
    """
    return APIRouter(
        route_class=route_class,
        tags=[tag],
        generate_unique_id_function=operation_id,
        strict_content_type=False,
    )


async def _authenticate(request: Request, scopes: frozenset[str], route: str) -> None:
    """Set the request's caller. Raises NotAuthenticated, NotAllowed or TooManyRequests, all of them
    audited.
    """
    authenticator: Authenticator = request.app.state.authenticator
    failures: Failures = request.app.state.failures
    try:
        request.state.caller = caller = await authenticator.find(
            authorization_of(request), partial(address_of, request)
        )
        caller.require_any(scopes)
    except (NotAuthenticated, TooManyRequests):
        failures.count_unknown(where_of(request))
        raise
    except NotAllowed:
        await failures.count_refused(actor_of(request), route)
        raise


def allowed_scopes(dependant: Dependant) -> frozenset[str]:
    """The scopes of which an endpoint's caller needs one. Raises TypeError if there are none."""
    scopes = {scope for each in _walk(dependant) for scope in each.own_oauth_scopes or ()}
    if not scopes:
        raise TypeError(f"{dependant.call} asks for no key: declare a caller, such as ReadCaller")
    return frozenset(scopes)


def names_of(annotation: Any) -> frozenset[str]:
    """The names that a body may have, by its model; ``annotation`` may be optional."""
    return frozenset(
        field.alias or name
        for model in (annotation, *get_args(annotation))
        if isinstance(model, type) and issubclass(model, BaseModel)
        for name, field in model.model_fields.items()
    )


def _walk(dependant: Dependant) -> Iterator[Dependant]:
    """A dependant and all its dependencies, recursively."""
    yield dependant
    for each in dependant.dependencies:
        yield from _walk(each)
