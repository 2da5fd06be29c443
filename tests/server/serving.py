"""A server of one application by a protocol of ours, on a port of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from app.server.complete_posts import CompletePostHttp
from tests.simulator.running import running


@contextmanager
def serving(application: Any, protocol: type[CompletePostHttp]) -> Iterator[int]:
    """The port it listens on."""
    config = uvicorn.Config(
        application,
        port=0,
        http=protocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # it wraps the application, which then hands nothing over
    )
    with running(uvicorn.Server(config)) as url:
        yield int(url.rsplit(":", 1)[1])
