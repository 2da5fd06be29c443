"""Which HTTP proxy the requests to iovox go through: a setting's, else the environment's.

The environment is read here, once, instead of by aiohttp's ``trust_env``, which would read it anew
for every request and send what it finds in ``.netrc`` along. A proxy's URL may carry a password, so
no error quotes one.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.request import getproxies_environment, proxy_bypass

from yarl import URL

SETTING = "DLR_IOVOX_PROXY"


def find_proxy(base_url: str, setting: str | None) -> URL | None:
    """The proxy for ``base_url``: ``setting`` where it says one, for every host.

    Otherwise HTTPS_PROXY or HTTP_PROXY, by the URL's scheme, with the exceptions in NO_PROXY. As in
    Go and in browsers this machine itself is such an exception, too.

    Raises ValueError that names the variable at fault.
    """
    if setting and setting.strip():
        return _read(setting.strip(), SETTING)
    url = URL(base_url)
    written = getproxies_environment().get(url.scheme)
    if not written or _is_loopback(url) or proxy_bypass(url.authority):
        return None
    # Tools that read these variables take a proxy without a scheme.
    return _read(
        written if "://" in written else f"http://{written}", f"{url.scheme.upper()}_PROXY"
    )


def _is_loopback(url: URL) -> bool:
    host = url.host or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(written: str, variable: str) -> URL:
    wrong = f"{variable}: must be http://[user:password@]host:port"
    try:
        url = URL(written)
        # What Basic authentication can carry; aiohttp would fail at every send instead.
        f"{url.user or ''}:{url.password or ''}".encode("latin-1")
    except ValueError:  # as UnicodeError is
        raise ValueError(wrong) from None
    if url.scheme != "http" or not url.host or url.explicit_port is None:
        raise ValueError(wrong)
    if url.path not in ("", "/") or url.query_string or url.fragment or ":" in (url.user or ""):
        raise ValueError(wrong)
    return url
