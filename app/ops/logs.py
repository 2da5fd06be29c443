"""Structured logs. Secrets, message texts and phone numbers are never passed to a logger."""

from __future__ import annotations

import logging
import sys
import time

import structlog

WARNING_INTERVAL = 10.0
"""Seconds between two equal warnings of the HTTP server, which any client can cause."""


class _WarningLimiter(logging.Filter):
    """Rate limit of warnings by message template, so that they cannot fill the disk."""

    def __init__(self) -> None:
        super().__init__()
        self._next: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        now, template = time.monotonic(), str(record.msg)
        if now < self._next.get(template, 0.0):
            return False
        self._next[template] = now + WARNING_INTERVAL
        return True


def configure(*, level: str, as_json: bool) -> None:
    """Send all log records, also those of libraries, through one renderer to standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Below the level warning, libraries log the data that they process: customers' data.
    root.setLevel(max(logging.WARNING, getattr(logging, level.upper())))
    for ours in ("app", "uvicorn"):
        logging.getLogger(ours).setLevel(level.upper())
    # A line per request would cost more than storing a receipt.
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").addFilter(_WarningLimiter())
