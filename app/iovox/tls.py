"""The TLS context for iovox: always verified, by the system's roots and an optional CA file."""

from __future__ import annotations

import ssl
from pathlib import Path


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """A context that trusts the system's roots and the certificates in ``ca_file`` (PEM).

    Raises ValueError if the file cannot be read or has no certificate.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except ssl.SSLError:  # a subclass of OSError with an unhelpful strerror
            raise ValueError(f"{ca_file} holds no certificate in PEM form") from None
        except OSError as error:
            raise ValueError(f"{ca_file} cannot be read: {error.strerror}") from None
    return context
