"""Structured logs. Secrets, message texts and phone numbers are never passed to a logger."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as _quoted

import structlog

LONGEST_REQUEST_ID = 64

WARNING_INTERVAL = 10.0
"""Seconds between two equal warnings of the HTTP server, which any client can cause, and of a loop
that waits for the database."""
RECURRING = frozenset(
    {
        "batch_not_recorded",
        "drain_failed",
        "drain_interrupted",
        "not_recorded",
        "outcome_not_recorded",
        "queue_failed",
        "queue_waits",
        "receipts_not_recorded",
        "status_poll_failed",
        "stream_ended",
        "stream_keys_not_checked",
        "stream_reader_failed",
        "stream_reader_waits",
        "sweep_failed",
        "sweep_waits",
        "wakeups_interrupted",
        "webhook_deliverer_failed",
        "webhook_interrupted",
        "webhook_lease_renewal_failed",
        "webhook_poll_failed",
        "webhook_purge_failed",
    }
)
"""Events that a loop or a request repeats for as long as an outage lasts. They can be limited:
`database_away` reports the outage itself, and what they are about is in the database or the spool.
"""


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


class RecurringLimiter:
    """Passes the first of each kind of RECURRING event, and then one each WARNING_INTERVAL, with
    the number of those that were ``suppressed`` since.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next: dict[tuple[str, str], float] = {}
        self._suppressed: Counter[tuple[str, str]] = Counter()

    def __call__(
        self, _logger: object, method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        """A processor of structlog's. Raises DropEvent."""
        if event["event"] not in RECURRING:
            return event
        kind = (event["event"], method)
        now = self._clock()
        if now < self._next.get(kind, now):
            self._suppressed[kind] += 1
            raise structlog.DropEvent
        self._next[kind] = now + WARNING_INTERVAL
        if suppressed := self._suppressed.pop(kind, 0):
            event["suppressed"] = suppressed
        return event


def is_request_id(value: bytes) -> bool:
    """Whether an X-Request-Id is taken: letters, digits and dashes only, as it is logged."""
    return 0 < len(value) <= LONGEST_REQUEST_ID and value.replace(b"-", b"x").isalnum()


class StepLog:
    """One line at info for each step of a message: recorded, submitted, receipt, ...

    Written straight to standard error, many lines in one call: a line by a logger costs as much CPU
    as a receipt.
    """

    def __init__(self, *, level: str, as_json: bool) -> None:
        self.is_on = getattr(logging, level.upper()) <= logging.INFO
        self._as_json = as_json

    def log(self, event: str, **fields: str | None) -> None:
        """One step, with what the request's context has: its id, and its trace."""
        if self.is_on:
            self.log_all(event, [fields | structlog.contextvars.get_contextvars()])

    def log_all(self, event: str, steps: Iterable[Mapping[str, str | None]]) -> None:
        """The same step of several messages. Fields that are None are left out."""
        at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        if self._as_json:
            join, mark, begin = ", ", '": ', '"'
            start, end = "{", f'"event": "{event}", "level": "info", "timestamp": "{at}"}}\n'
        else:
            join, mark, begin = " ", "=", ""
            start, end = f"{at} [info     ] {event:<30} ", "\n"
        lines = []
        for fields in steps:
            # Quoted value by value: json.dumps of the line takes twice as long, for every receipt.
            fields_of_line = [
                f"{begin}{name}{mark}{_quoted(value)}{join}"
                for name, value in fields.items()
                if value is not None
            ]
            lines.append(f"{start}{''.join(fields_of_line)}{end}")
        sys.stderr.write("".join(lines))


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
        processors=[
            RecurringLimiter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
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
