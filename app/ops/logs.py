"""Structured logs. Secrets, message texts and phone numbers never go in: nobody passes them."""

from __future__ import annotations

import logging
import sys
import time

import structlog

SELDOM = 10.0
"""Seconds between two equal warnings of the HTTP server's: any stranger can cause them."""


class _Seldom(logging.Filter):
    """Lets a warning through once in a while, so that a flood of them does not fill the disk."""

    def __init__(self) -> None:
        super().__init__()
        self._next: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        now, words = time.monotonic(), str(record.msg)  # the words before anything is filled in
        if now < self._next.get(words, 0.0):
            return False
        self._next[words] = now + SELDOM
        return True


def configure(*, level: str, as_json: bool) -> None:
    """Send every log line, also the libraries', through one renderer to standard error."""
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
    # What the libraries have to say below a warning quotes what they carry: customers' data.
    root.setLevel(max(logging.WARNING, getattr(logging, level.upper())))
    for ours in ("app", "uvicorn"):
        logging.getLogger(ours).setLevel(level.upper())
    # One line a request would cost more than storing a receipt does.
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").addFilter(_Seldom())
