"""The TLS settings towards iovox: always verified, by the system's roots and one file more."""

from __future__ import annotations

import ssl
from pathlib import Path


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """A context that trusts the system's roots and the certificates in ``ca_file`` (PEM).

    Raises ValueError, which says in a few words what is wrong with the file.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except ssl.SSLError:  # an OSError, too, but one without a strerror worth reading
            raise ValueError(f"{ca_file} holds no certificate in PEM form") from None
        except OSError as error:
            raise ValueError(f"{ca_file} cannot be read: {error.strerror}") from None
    return context
