"""Provides routes with the objects that `app.main` puts in ``app.state``."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, Request


def from_state(name: str) -> Any:
    """The dependency that provides ``app.state.<name>``, of the type that its annotation says."""

    async def provide(request: Request) -> Any:  # a plain function would run in a thread
        return getattr(request.app.state, name)

    return Depends(provide)
