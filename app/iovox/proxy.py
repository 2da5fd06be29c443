"""The HTTP proxy for requests to iovox: from the setting, else from the environment.

The environment is read once, not by aiohttp's ``trust_env``, which reads it for every request and
adds credentials from ``.netrc``. A proxy's URL may contain a password, so no error quotes it.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.request import getproxies_environment, proxy_bypass

from yarl import URL

SETTING = "DLR_IOVOX_PROXY"


def find_proxy(base_url: str, setting: str | None) -> URL | None:
    """The proxy for ``base_url``: ``setting`` if it is not blank, for every host.

    Otherwise HTTPS_PROXY or HTTP_PROXY, by the URL's scheme, except for hosts in NO_PROXY and, as
    in Go and in browsers, for loopback addresses.

    Raises ValueError that names the invalid variable.
    """
    if setting and setting.strip():
        return _parse(setting.strip(), SETTING)
    url = URL(base_url)
    written = getproxies_environment().get(url.scheme)
    if not written or _is_loopback(url) or proxy_bypass(url.authority):
        return None
    # By convention these variables may omit the scheme.
    return _parse(
        written if "://" in written else f"http://{written}", f"{url.scheme.upper()}_PROXY"
    )


def _is_loopback(url: URL) -> bool:
    host = url.host or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parse(written: str, variable: str) -> URL:
    wrong = f"{variable}: must be http://[user:password@]host:port"
    try:
        url = URL(written)
        # The encoding of Basic authentication; aiohttp would fail at every send instead.
        f"{url.user or ''}:{url.password or ''}".encode("latin-1")
    except ValueError:  # as UnicodeError is
        raise ValueError(wrong) from None
    if url.scheme != "http" or not url.host or url.explicit_port is None:
        raise ValueError(wrong)
    if url.path not in ("", "/") or url.query_string or url.fragment or ":" in (url.user or ""):
        raise ValueError(wrong)
    return url
