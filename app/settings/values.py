"""What a setting's text must be like. Raises ValueError, in words that follow its name."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated
from urllib.parse import urlsplit

from phonenumbers import SUPPORTED_REGIONS
from pydantic import AfterValidator, Field, SecretStr

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


def public_url(value: str) -> str:
    """DLR_PUBLIC_URL."""
    url = _base_url(value)
    if urlsplit(url).path.lower().endswith("/dlr"):
        raise ValueError("must be the base URL: the service adds /dlr itself")
    return url


def header_value(value: str) -> str:
    """A value that a header can carry, or nothing."""
    if value.strip() and not _HEADER_VALUE.fullmatch(value):
        raise ValueError("must be visible ASCII, without spaces around it")
    return value


def secret_header_value(value: SecretStr) -> SecretStr:
    """``header_value`` of a secret."""
    header_value(value.get_secret_value())
    return value


def none_if_empty(value: object) -> object:
    """A variable that is set to nothing is not set."""
    return None if value == "" else value


def networks(value: str) -> str:
    """Networks, separated by commas."""
    for part in filter(None, (part.strip() for part in value.split(","))):
        try:
            ip_network(part)
        except ValueError:
            raise ValueError(f"{part} is no network such as 10.0.0.0/8") from None
    return value


def origins(value: str) -> str:
    """Each as a browser writes it: lower case, without the port that its scheme implies."""
    found = []
    for part in filter(None, (part.strip() for part in value.split(","))):
        url = urlsplit(_base_url(part.lower()))
        if url.path or "*" in url.netloc:
            raise ValueError(f"{part} is no origin such as https://support.example.com")
        port = "" if url.port in (None, _DEFAULT_PORTS[url.scheme]) else f":{url.port}"
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
        found.append(f"{url.scheme}://{host}{port}")
    return ",".join(found)


def region(value: str | None) -> str | None:
    """A country's two letters."""
    region = value and value.strip().upper()
    if region and region not in SUPPORTED_REGIONS:
        raise ValueError(f"{region[:20]} is no country's two letters (ISO 3166), such as GB")
    return region


BaseUrl = Annotated[str, AfterValidator(_base_url)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
LongDuration = Annotated[float, Field(gt=0, le=10 * 365 * 86_400)]
Rate = Annotated[float, Field(ge=0.001, le=1_000_000)]
