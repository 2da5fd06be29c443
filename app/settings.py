"""All settings, in one frozen and validated object, from environment variables DLR_*.

Used by `main`, `runtime` and `cli` only; all other modules get plain arguments.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from phonenumbers import SUPPORTED_REGIONS
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "DLR_"

NEEDED_TO_SERVE = ("public_url", "callback_url_headers", "iovox_username", "iovox_secure_key")

_OF_OTHERS = ("DLR_API_", "DLR_TEST_")
"""What else begins with PREFIX: the variables of the commands that ask a service, and of tests."""
_TYPO = 2
"""Edits at most that a misspelt name is away from the one that was meant."""
SHORTEST_KEY = 16
"""Characters of a key that protects digests."""
_DEFAULT_PORTS = {"http": 80, "https": 443}
_VISIBLE = re.compile("[!-~]+")
_HEADER_VALUE = re.compile("[!-~](?:[ -~]*[!-~])?")


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL that starts with https:// (or http://)")
    if parts.query or parts.fragment:
        raise ValueError("must be a base URL, without ? and #")
    if parts.username is not None:
        raise ValueError("must not carry credentials")
    if not _VISIBLE.fullmatch(value) or parts.port == 0:
        raise ValueError("must be visible ASCII, with a port that exists")
    return value.rstrip("/")


def _public_url(value: str) -> str:
    url = _base_url(value)
    if urlsplit(url).path.lower().endswith("/dlr"):
        raise ValueError("must be the base URL: the service adds /dlr itself")
    return url


def _header_value(value: str) -> str:
    if value.strip() and not _HEADER_VALUE.fullmatch(value):
        raise ValueError("must be visible ASCII, without spaces around it")
    return value


def _secret_header_value(value: SecretStr) -> SecretStr:
    _header_value(value.get_secret_value())
    return value


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


def _networks(value: str) -> str:
    for part in filter(None, (part.strip() for part in value.split(","))):
        try:
            ip_network(part)
        except ValueError:
            raise ValueError(f"{part} is no network such as 10.0.0.0/8") from None
    return value


def _origins(value: str) -> str:
    """Each as a browser writes it: lower case, without the port that its scheme implies."""
    found = []
    for part in filter(None, (part.strip() for part in value.split(","))):
        url = urlsplit(_base_url(part.lower()))
        if url.path:
            raise ValueError(f"{part} is no origin such as https://support.example.com")
        port = "" if url.port in (None, _DEFAULT_PORTS[url.scheme]) else f":{url.port}"
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
        found.append(f"{url.scheme}://{host}{port}")
    return ",".join(found)


def _region(value: str | None) -> str | None:
    region = value and value.strip().upper()
    if region and region not in SUPPORTED_REGIONS:
        raise ValueError(f"{region[:20]} is no country's two letters (ISO 3166), such as GB")
    return region


BaseUrl = Annotated[str, AfterValidator(_base_url)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
LongDuration = Annotated[float, Field(gt=0, le=10 * 365 * 86_400)]
Rate = Annotated[float, Field(ge=0.001, le=1_000_000)]


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
    database_pooler: Annotated[Literal["transaction"] | None, BeforeValidator(_none_if_empty)] = (
        Field(
            None,
            description="transaction: DLR_DATABASE_URL leads to a pooler, such as pgbouncer, in "
            "transaction mode",
        )
    )
    public_url: Annotated[str, AfterValidator(_public_url)] | None = Field(
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
    iovox_username: Annotated[str, AfterValidator(_header_value)] | None = Field(
        None, description="your iovox user name"
    )
    iovox_secure_key: Annotated[SecretStr, AfterValidator(_secret_header_value)] | None = Field(
        None, description="your iovox secure key"
    )
    iovox_proxy: SecretStr | None = Field(
        None,
        description="http://[user:password@]host:port on the way to iovox; none is what "
        "HTTPS_PROXY, HTTP_PROXY and NO_PROXY say",
    )
    iovox_ca_file: Annotated[Path | None, BeforeValidator(_none_if_empty)] = Field(
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
        str | None, BeforeValidator(_none_if_empty), AfterValidator(_region)
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
    evidence_key_file: Annotated[Path | None, BeforeValidator(_none_if_empty)] = Field(
        None,
        description="file of `dlr evidence keygen`, whose key signs the evidence log; none is no "
        "log",
    )
    evidence_tsa_url: Annotated[BaseUrl | None, BeforeValidator(_none_if_empty)] = Field(
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
    cors_origins: Annotated[str, AfterValidator(_origins)] = Field(
        "",
        description="comma-separated origins whose web pages may call the API from a browser, such "
        "as https://support.example.com",
    )
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = Field(
        "",
        description="networks of your own proxies, such as 10.0.0.0/8, whose X-Forwarded-For is "
        "believed",
    )
    allowed_callers: Annotated[str, AfterValidator(_networks)] = Field(
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
    webhook_allowed_networks: Annotated[str, AfterValidator(_networks)] = Field(
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
LARGEST_SECRET = 64 * 1024
"""Bytes: a file that is larger was named by mistake."""


class SettingsError(Exception):
    """Settings are missing or invalid; the text names each variable and how to set it."""


def load(*, needs: Iterable[str] = ()) -> Settings:
    """Read the environment. Raises SettingsError."""
    settings, errors = read(needs=needs)
    if errors:
        raise SettingsError(report(errors))
    return settings


def read(*, needs: Iterable[str] = ()) -> tuple[Settings, dict[str, str]]:
    """Read the environment; returns the settings, and the errors by field.

    An invalid field has its default in the settings, so that the others can be checked, too. A
    variable that is not known is an error where it looks like a field that is not set.
    """
    errors = misspelt(os.environ)
    from_files, unreadable = _secrets_in_files(os.environ)
    errors |= unreadable
    try:
        settings = Settings(**from_files)
    except ValidationError as invalid:
        for found in invalid.errors(include_input=False, include_url=False):
            errors[str(found["loc"][0])] = found["msg"].removeprefix("Value error, ")
        defaults = {name: Settings.model_fields[name].default for name in errors}
        settings = Settings(**(from_files | defaults))
    for name in needs:
        value = getattr(settings, name)
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text is None or not str(text).strip():
            errors.setdefault(name, "is not set")
    return settings, errors


def read_secrets_again(settings: Settings) -> tuple[Settings, dict[str, str]]:
    """``settings`` with what the files of its secrets say now, and what is wrong with the others,
    by variable: these keep their value.
    """
    given = {name for name in SECRETS if _given(os.environ, variable(name) + FILE)}
    found, errors = read()
    good = {name: getattr(found, name) for name in given - errors.keys()}
    wrong = {variable(name) + FILE: errors[name] for name in sorted(given & errors.keys())}
    return settings.model_copy(update=good), wrong


def _secrets_in_files(environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The secrets that are given as files, and what is wrong with those that cannot be read."""
    found: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name in SECRETS:
        path = _given(environment, variable(name) + FILE)
        if not path:
            continue
        if _given(environment, variable(name)):
            errors[name] = f"is set, and {variable(name)}{FILE} too: leave one of them out"
            continue
        try:
            found[name] = _read_secret(Path(path))
        except ValueError as error:
            errors[name] = f"{variable(name)}{FILE}: {path} {error}"
    return found, errors


def _read_secret(path: Path) -> str:
    """What a file holds, without line breaks at its end. Links are followed: an orchestrator's
    secrets are links. Raises ValueError in words that follow the file's name.
    """
    try:
        if not path.is_file():  # a pipe without a writer would hold up the start for ever
            raise ValueError("is no file")
        with path.open("rb") as file:
            text = file.read(LARGEST_SECRET + 1).decode().rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("is not text") from None
    if not text.strip():
        raise ValueError("is empty")
    if len(text) > LARGEST_SECRET:
        raise ValueError(f"is larger than {LARGEST_SECRET // 1024} KiB")
    return text


def _given(environment: Mapping[str, str], name: str) -> str:
    values = (value for given, value in environment.items() if given.upper() == name)
    return next(values, "").strip()


def _known() -> dict[str, str]:
    """The fields by each variable that gives them."""
    return {variable(name): name for name in Settings.model_fields} | {
        variable(name) + FILE: name for name in SECRETS
    }


def erasure_key(settings: Settings) -> bytes | None:
    """The key of erasures' digests; None where none is set. Raises SettingsError."""
    text = (settings.erasure_key.get_secret_value() if settings.erasure_key else "").strip()
    if text and len(text) < SHORTEST_KEY:
        raise SettingsError(report({"erasure_key": f"is shorter than {SHORTEST_KEY} characters"}))
    return text.encode() or None


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """The names that begin with PREFIX and are not known, in order."""
    known = _known()
    return sorted(
        name
        for name in environment
        if name.upper().startswith(PREFIX)
        and not name.upper().startswith(_OF_OTHERS)
        and name.upper() not in known
    )


def misspelt(environment: Iterable[str]) -> dict[str, str]:
    """The fields that are not set although a variable of nearly this name is, as errors."""
    given = {name.upper() for name in environment}
    errors: dict[str, str] = {}
    for unknown in unknown_variables(environment):
        for meant, name in _known().items():
            is_set = variable(name) in given or variable(name) + FILE in given
            if not is_set and _edits(unknown.upper(), meant) <= _TYPO:
                errors[name] = f"is not set, but {unknown} is, which is not known: a typing error?"
    return errors


def _edits(one: str, other: str) -> int:
    """How many letters to add, leave out, change or swap with their neighbour make one the other
    (the distance of Damerau and Levenshtein, where no letter is edited twice).
    """
    if abs(len(one) - len(other)) > _TYPO:
        return _TYPO + 1
    before_last: list[int] = []
    last = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, wanted in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and wanted == one[i - 2]:
                cost = min(cost, before_last[j - 2] + 1)
            row.append(cost)
        before_last, last = last, row
    return last[-1]


def variable(name: str) -> str:
    """The environment variable of a field."""
    return PREFIX + name.upper()


def report(errors: Mapping[str, str]) -> str:
    """A message that names each invalid variable and how to set it."""
    lines = ["The configuration is not complete. Set these environment variables:"]
    for name, found in errors.items():
        lines.append(f"  {variable(name)}: {found}")
        lines.append(f"      {Settings.model_fields[name].description}")
    return "\n".join(lines)
