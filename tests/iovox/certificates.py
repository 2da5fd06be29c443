"""A certificate authority of the tests' own, and a certificate for 127.0.0.1 that it signed."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_EXTENSIONS = "subjectAltName=IP:127.0.0.1,DNS:iovox.test\nauthorityKeyIdentifier=keyid\n"


@dataclass(frozen=True)
class Certificates:
    """``ca`` is the authority's certificate; ``server`` holds one that it signed, and its key."""

    ca: Path
    server: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server)
        return context


def make_certificates(folder: Path) -> Certificates:
    def openssl(arguments: str) -> None:
        subprocess.run(["openssl", *arguments.split()], check=True, capture_output=True, cwd=folder)

    openssl(
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-authority -keyout ca.key"
        " -out ca.pem -addext keyUsage=critical,keyCertSign,cRLSign"
    )
    openssl("req -newkey rsa:2048 -nodes -subj /CN=iovox.test -keyout server.key -out server.csr")
    (folder / "extensions").write_text(_EXTENSIONS)
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2"
        " -extfile extensions -out server.crt"
    )
    both = folder / "server.pem"
    both.write_text((folder / "server.key").read_text() + (folder / "server.crt").read_text())
    return Certificates(folder / "ca.pem", both)
