"""Every setting, with its description and its default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.settings import values
from app.settings.values import BaseUrl, LongDuration, Rate, Seconds

PREFIX = "DLR_"
NEEDED_TO_SERVE = ("public_url", "callback_url_headers", "iovox_username", "iovox_secure_key")


class Settings(BaseSettings):
    """The service's settings. Durations are in seconds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    database_url: str = Field(
        "sqlite:///dlr.db",
        description="sqlite:///file, or postgresql://user:password@host/name as psql takes it: "
        "several hosts, sslmode, ...",
        repr=False,  # it may carry a password
    )
    database_pool: int = Field(
        8, ge=3, le=100, description="connections per worker process, besides 6 for receipts alone"
    )
    database_pooler: Annotated[
        Literal["transaction"] | None, BeforeValidator(values.none_if_empty)
    ] = Field(
        None,
        description="transaction: DLR_DATABASE_URL leads to a pooler, such as pgbouncer, in "
        "transaction mode",
    )
    public_url: Annotated[str, AfterValidator(values.public_url)] | None = Field(
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
    encryption_key: SecretStr | None = Field(
        None,
        description="what webhooks' secrets are encrypted by in the database: a key that `dlr "
        "secrets key` prints; with commas, older ones that still decrypt",
    )
    iovox_url: BaseUrl = Field(
        "https://api.iovox.com:444",
        description="iovox's API; the sandbox is https://sandboxapi.iovox.com:444",
    )
    iovox_username: Annotated[str, AfterValidator(values.header_value)] | None = Field(
        None, description="your iovox user name"
    )
    iovox_secure_key: Annotated[SecretStr, AfterValidator(values.secret_header_value)] | None = (
        Field(None, description="your iovox secure key")
    )
    iovox_proxy: SecretStr | None = Field(
        None,
        description="http://[user:password@]host:port on the way to iovox; none is what "
        "HTTPS_PROXY, HTTP_PROXY and NO_PROXY say",
    )
    iovox_ca_file: Annotated[Path | None, BeforeValidator(values.none_if_empty)] = Field(
        None,
        description="PEM file of certificate authorities to trust for iovox, beside the system's",
    )
    iovox_connect_timeout: Seconds = Field(
        5.0, description="to connect to one address of iovox; twice that for all of them"
    )
    iovox_read_timeout: Seconds = Field(30.0, description="for iovox to answer")
    iovox_max_connections: int = Field(64, ge=1, le=1000, description="sends at once, per process")
    iovox_rate: Rate | None = Field(
        None,
        description="messages a second towards iovox, all replicas together; none is no limit",
    )
    default_region: Annotated[
        str | None, BeforeValidator(values.none_if_empty), AfterValidator(values.region)
    ] = Field(
        None,
        description="the country, such as GB, whose national phone numbers are read "
        "(07700 900123); none is international form alone",
    )
    retry_on_500: bool = Field(
        True, description="whether iovox's own XML error 500 is taken as surely not sent"
    )
    retry_for: float = Field(
        86_400.0, gt=0, le=604_800, description="how long a message without expiry is tried"
    )
    schedule_horizon: LongDuration = Field(
        30 * 86_400.0, description="how far in the future send_at may lie"
    )
    overdue_after: LongDuration = Field(
        72 * 3600.0, description="when a message without expiry counts as overdue"
    )
    key_rate: Rate | None = Field(
        None,
        description="messages a second that one API key may ask for, of each process; none is no "
        "limit",
    )
    spool_dir: Path = Field(
        Path("spool"),
        description="local disk: where receipts wait while the database is away, and the journal",
    )
    journal_for: float = Field(
        86_400.0,
        ge=0,
        le=30 * 86_400,
        description="how long what was acknowledged is kept in the journal, to be brought back if "
        "the database forgets it; 0 is no journal",
    )
    keys_wait: Seconds | None = Field(
        None,
        description="how long new idempotency keys wait for a process that does not come back "
        "after the database forgot something; none is until `dlr queue release`",
    )
    evidence_key_file: Annotated[Path | None, BeforeValidator(values.none_if_empty)] = Field(
        None,
        description="file of `dlr evidence keygen`, whose key signs the evidence log; none is no "
        "log",
    )
    evidence_tsa_url: Annotated[BaseUrl | None, BeforeValidator(values.none_if_empty)] = Field(
        None, description="an RFC 3161 time stamping authority that stamps the log's checkpoints"
    )
    commit_timeout: Seconds = Field(
        2.0, description="how long a receipt waits for the database before it goes to the spool"
    )
    body_timeout: Seconds = Field(
        10.0, description="how long the body of a receipt may take to arrive"
    )
    shutdown_timeout: Seconds = Field(
        20.0, description="how long a stop may take before what is left is cut off"
    )
    queue_workers: bool = Field(
        True, description="whether this process sends what is queued (`dlr worker` does it too)"
    )
    cors_origins: Annotated[str, AfterValidator(values.origins)] = Field(
        "",
        description="comma-separated origins whose web pages may call the API from a browser, such "
        "as https://support.example.com",
    )
    trusted_proxies: Annotated[str, AfterValidator(values.networks)] = Field(
        "",
        description="networks of your own proxies, such as 10.0.0.0/8, whose X-Forwarded-For is "
        "believed",
    )
    allowed_callers: Annotated[str, AfterValidator(values.networks)] = Field(
        "",
        description="networks that may call /dlr, seen through DLR_TRUSTED_PROXIES; others get "
        "the 401 of a wrong secret; none is everybody",
    )
    failed_logins: int = Field(
        60,
        ge=1,
        le=100_000,
        description="requests with a wrong key that an address may make a minute, and then gets "
        "429; keys that were valid before still are",
    )
    max_streams: Annotated[int, Field(ge=1, le=65_536)] | None = Field(
        None,
        description="event streams open at once, of each process; none is half the files that it "
        "may open",
    )
    streams_per_key: int = Field(
        2_000, ge=1, le=65_536, description="of these, with one API key; more are answered 429"
    )
    max_waits: int = Field(
        10_000,
        ge=1,
        le=65_536,
        description="requests with ?wait= that wait at once, of each process; more are answered "
        "at once with what is known",
    )
    waits_per_key: int = Field(
        2_000, ge=1, le=65_536, description="of these, with one API key; more are answered 429"
    )
    docs: bool = Field(True, description="whether /docs and /openapi.json are served")
    console: bool = Field(True, description="whether the pages for people are served at /console")
    console_url: BaseUrl | None = Field(
        None,
        description="where people reach the console, if that is not DLR_PUBLIC_URL, such as "
        "https://receipts.example.com",
    )
    oidc_issuer: BaseUrl | None = Field(
        None,
        description="the provider at which people may sign in to the console (OpenID Connect), "
        "such as https://login.example.com",
    )
    oidc_client_id: str | None = Field(None, description="our id there")
    oidc_client_secret: SecretStr | None = Field(None, description="our secret there")
    oidc_roles: str = Field(
        "",
        description="what the provider's roles or groups may: support-team=support,ops=admin",
    )
    oidc_name: str | None = Field(
        None, description="what the button calls the provider; its host's name if left out"
    )
    stream_heartbeat: Seconds = Field(
        15.0, description="how long an event stream may be silent before it gets a comment"
    )
    webhook_allow_http: bool = Field(
        False, description="whether webhooks may go to http:// as well as https:// URLs"
    )
    webhook_allowed_networks: Annotated[str, AfterValidator(values.networks)] = Field(
        "",
        description="networks of your own that webhooks may reach, such as 10.0.0.0/8,fd00::/8; "
        "every address that is not public is refused otherwise",
    )
    webhook_timeout: Seconds = Field(10.0, description="for a webhook's receiver to answer")
    webhook_first_retry: Seconds = Field(
        1.0, description="before a failed delivery is tried again; doubled each time"
    )
    webhook_longest_retry: Seconds = Field(
        600.0, description="between two attempts at a delivery, at most"
    )
    webhook_give_up_after: LongDuration = Field(
        3 * 86_400.0,
        description="how long a delivery is tried, and a receiver may fail before it is paused",
    )
    webhook_concurrency: int = Field(
        8, ge=1, le=100, description="deliveries at once, to each webhook"
    )
    webhook_keep_for: LongDuration = Field(
        30 * 86_400.0, description="how long ended deliveries can be looked up and replayed"
    )
    ops_port: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="where /metrics, /healthz and /readyz are served as well; `dlr worker` serves "
        "them there alone",
    )
    ops_host: str = Field("127.0.0.1", description="the address for DLR_OPS_PORT")
    ops_interval: Seconds = Field(
        10.0, description="between two looks at the tables, for metrics and alarms"
    )
    silence_after: LongDuration = Field(
        3600.0,
        description="how long no receipt may come after a message was accepted, before the alarm",
    )
    otlp_endpoint: Annotated[BaseUrl | None, BeforeValidator(values.none_if_empty)] = Field(
        None,
        description="an OpenTelemetry collector that takes traces by OTLP over HTTP, such as "
        "http://127.0.0.1:4318; needs the extra `otel`; none is no traces",
    )
    keep_texts_for: float | None = Field(
        None,
        ge=0,
        le=36_500,
        description="days that the text of a message is kept after it was sent; none is as long as "
        "the message",
    )
    keep_for: float | None = Field(
        None,
        ge=1,
        le=36_500,
        description="days that messages are kept, and all that hangs on them; none is for ever",
    )
    erasure_key: SecretStr | None = Field(
        None,
        description="at least 16 characters: the key of the digests by which an erasure is shown "
        "later; keep it, it cannot be changed for what was erased",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )
    log_format: Literal["json", "console"] = Field("json", description="json or console")

    @property
    def ops_address(self) -> tuple[str, int] | None:
        """Where metrics are served as well, if anywhere."""
        return (self.ops_host, self.ops_port) if self.ops_port else None


SECRETS = tuple(
    name
    for name, field in Settings.model_fields.items()
    if not field.repr or "SecretStr" in str(field.annotation)
)
"""The fields that can also be given as a file, whose name stands in the variable with FILE."""
FILE = "_FILE"


def variable(name: str) -> str:
    """The environment variable of a field."""
    return PREFIX + name.upper()
