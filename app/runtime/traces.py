"""Builds the tracer and its exporter, if DLR_OTLP_ENDPOINT is set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import version

from opentelemetry.trace import Tracer, TracerProvider

from app.errors import ConfigurationError
from app.ops.traces import NO_TRACER
from app.settings import Settings, variable

NAME = "iovox-receipts"


class Traces:
    """The tracer of one process. Without an endpoint it makes no spans, and imports nothing of the
    extra `otel`.

    Raises ConfigurationError.
    """

    def __init__(self, settings: Settings) -> None:
        self.provider: TracerProvider | None = None
        self.tracer: Tracer = NO_TRACER
        self._shut_down: Callable[[], None] | None = None
        require_extra(settings)
        if settings.otlp_endpoint is not None:
            from app.ops.otlp import tracer_provider  # noqa: PLC0415  of an extra

            provider = tracer_provider(settings.otlp_endpoint, name=NAME)
            self.provider = provider
            self.tracer = provider.get_tracer(NAME, version(NAME))
            self._shut_down = provider.shutdown

    async def close(self) -> None:
        """Export the spans that are left. The caller bounds it: a collector may be slow."""
        if self._shut_down is not None:
            await asyncio.to_thread(self._shut_down)


def require_extra(settings: Settings) -> None:
    """Raises ConfigurationError where an endpoint is set, and the extra is not installed."""
    if settings.otlp_endpoint is None:
        return
    try:
        import app.ops.otlp  # noqa: F401, PLC0415  as above
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            f"{variable('otlp_endpoint')} is set, and {missing.name} is not installed: "
            f"pip install '{NAME}[otel]', or leave it out for no traces."
        ) from None
