"""Every knob, in one frozen value, read from DLR_ variables. Read by `main`, `runtime` and `cli`
only: everything else is handed plain arguments.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.errors import ConfigurationError

PREFIX = "DLR_"

NEEDED_TO_SERVE = ("public_url", "callback_url_headers", "iovox_username", "iovox_secure_key")


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL that starts with https:// (or http://)")
    if parts.query or parts.fragment:
        raise ValueError("must be a base URL, without ? and #")
    return value.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_base_url)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Settings(BaseSettings):
    """The service's settings. Times are in seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    database_url: str = Field(
        "sqlite:///dlr.db", description="sqlite:///file or postgresql://user:password@host/name"
    )
    database_pool: int = Field(8, ge=2, le=100, description="connections per worker process")
    public_url: BaseUrl | None = Field(
        None, description="our public base URL, such as https://sms.example.com; iovox calls /dlr"
    )
    callback_url_headers: SecretStr | None = Field(
        None,
        description="in iovox's notation: Content-Type: application/json,X-Custom-Header: <secret>",
    )
    callback_auth_header: str | None = Field(
        None, description="which of those headers authenticates a receipt, where there are several"
    )
    callback_previous_secrets: SecretStr = Field(
        SecretStr(""), description="comma-separated values of that header that are still accepted"
    )
    iovox_url: BaseUrl = Field(
        "https://api.iovox.com:444",
        description="iovox's API; the sandbox is https://sandboxapi.iovox.com:444",
    )
    iovox_username: str | None = Field(None, min_length=1, description="your iovox user name")
    iovox_secure_key: SecretStr | None = Field(None, description="your iovox secure key")
    iovox_connect_timeout: Seconds = Field(5.0, description="to connect to iovox")
    iovox_read_timeout: Seconds = Field(30.0, description="for iovox to answer")
    iovox_max_connections: int = Field(64, ge=1, le=1000, description="sends at once, per process")
    iovox_rate: float | None = Field(
        None, gt=0, description="messages a second towards iovox, per process; none is no limit"
    )
    retry_on_500: bool = Field(
        True, description="whether iovox's own XML error 500 is taken as surely not sent"
    )
    retry_for: float = Field(
        86_400.0, gt=0, le=604_800, description="how long a message without expiry is tried"
    )
    schedule_horizon: float = Field(
        30 * 86_400.0, gt=0, description="how far in the future send_at may lie"
    )
    overdue_after: float = Field(
        72 * 3600.0, gt=0, description="when a message without expiry counts as overdue"
    )
    key_rate: float | None = Field(
        None, gt=0, description="sends a second that one API key may ask for; none is no limit"
    )
    spool_dir: Path = Field(
        Path("spool"), description="where receipts wait while the database is away"
    )
    commit_timeout: Seconds = Field(
        2.0, description="how long a receipt waits for the database before it goes to the spool"
    )
    shutdown_timeout: Seconds = Field(
        20.0, description="how long a stop may take before what is left is cut off"
    )
    queue_workers: bool = Field(
        True, description="whether this process sends what is queued (`dlr worker` does it too)"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )
    log_format: Literal["json", "console"] = Field("json", description="json or console")


def load(*, needs: Iterable[str] = ()) -> Settings:
    """Read the environment. Raises ConfigurationError that names every variable at fault."""
    faults: dict[str, str] = {}
    try:
        settings = Settings()
    except ValidationError as error:
        for fault in error.errors(include_input=False, include_url=False):
            faults[str(fault["loc"][0])] = fault["msg"].removeprefix("Value error, ")
        raise ConfigurationError(_report(faults)) from None
    for name in needs:
        value = getattr(settings, name)
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text is None or not str(text).strip():
            faults[name] = "is not set"
    if faults:
        raise ConfigurationError(_report(faults))
    return settings


def variable(name: str) -> str:
    """The environment variable that sets this field."""
    return PREFIX + name.upper()


def _report(faults: dict[str, str]) -> str:
    lines = ["The configuration is not complete. Set these environment variables:"]
    for name, fault in faults.items():
        lines.append(f"  {variable(name)}: {fault}")
        lines.append(f"      {Settings.model_fields[name].description}")
    return "\n".join(lines)
