"""TLS to PostgreSQL with certificates of the test's own, and what is said where one is wrong."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import trustme

from app.errors import StoreUnavailable
from app.store.engine import Database
from tests.cli.here import dlr
from tests.support import processes
from tests.support.postgresql import PostgresServer, account

pytestmark = pytest.mark.postgresql

SECRET = "hunter2"
# Databases, since pg_hba.conf tells by them who is let in how. A password is always sent along.
HBA = """
local   all     all                 trust
host    all     postgres 127.0.0.1/32 trust
hostssl tls     app      127.0.0.1/32 trust
hostssl certs   app      127.0.0.1/32 cert
host    plain   app      127.0.0.1/32 scram-sha-256
"""


@dataclass
class Files:
    """The certificates that a client is given, by name."""

    folder: Path

    def __getitem__(self, name: str) -> str:
        return str(self.folder / name)


class TlsServer:
    """A PostgreSQL whose certificate can be changed while it runs."""

    def __init__(self, server: PostgresServer, ca: trustme.CA) -> None:
        self.server = server
        self._folder = server.folder
        self._write("ca.pem", ca.cert_pem.bytes())
        (server.data / "pg_hba.conf").write_text(HBA)
        for name, file in (("ca_file", "ca.pem"), ("cert_file", "s.pem"), ("key_file", "s.key")):
            server.execute(f"alter system set ssl_{name} = '{self._folder / file}'")
        self._reload()

    def present(self, certificate: trustme.LeafCert | None) -> None:
        """Shows this certificate from now on; None switches TLS off."""
        if certificate is not None:
            chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
            self._write("s.pem", chain)
            self._write("s.key", certificate.private_key_pem.bytes())
        self.server.execute(f"alter system set ssl = {'on' if certificate else 'off'}")
        self._reload()

    def url(self, database: str, **words: str) -> str:
        query = "&".join(f"{word}={value}" for word, value in words.items())
        return f"postgresql://app:{SECRET}@127.0.0.1:{self.server.port}/{database}?{query}"

    def _reload(self) -> None:
        before = self._loaded()
        self.server.execute("select pg_reload_conf()")
        assert processes.wait_until(lambda: self._loaded() > before, timeout=10)

    def _loaded(self) -> str:
        return self.server.execute("select pg_conf_load_time()")

    def _write(self, name: str, content: bytes) -> None:
        path = self._folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        if (who := account()) is not None:
            os.chown(path, who.pw_uid, who.pw_gid)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(authority: trustme.CA) -> Iterator[TlsServer]:
    with PostgresServer() as running:
        running.execute("create role app login superuser password 'another'")
        for name in ("tls", "certs", "plain"):
            running.create_database(name)
        yield TlsServer(running, authority)


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("certificates")
    stranger = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    stranger.cert_pem.write_to_path(str(folder / "other-ca.pem"))
    for name, ca, user in (
        ("app", authority, "app"),
        ("somebody", authority, "somebody"),
        ("strangers", stranger, "app"),
    ):
        issued = ca.issue_cert(f"{user}.example.com", common_name=user)
        issued.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
        issued.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        (folder / f"{name}.key").chmod(0o600)
    return Files(folder)


async def error_of(url: str) -> str:
    """What is said where no connection is made; empty where one is, by TLS or not.

    Nothing of it stays open. asyncpg says goodbye by TLS to a server that has refused it, without
    waiting for the end of that: an event loop that ends before leaves the socket to the collector.
    """
    before = psutil.Process().num_fds()
    try:
        return await _error_of(url)
    finally:
        async with asyncio.timeout(10):
            while psutil.Process().num_fds() > before:  # noqa: ASYNC110  nothing tells of it
                await asyncio.sleep(0.01)


async def _error_of(url: str) -> str:
    database = Database(url)
    try:
        async with database.direct() as connection:
            await connection.fetchval("select 1")
    except StoreUnavailable as error:
        return error.detail
    finally:
        await database.close()
    return ""


async def is_encrypted(url: str) -> bool:
    database = Database(url)
    try:
        async with database.write() as connection:
            query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
            return bool((await connection.exec_driver_sql(query)).scalar_one())
    finally:
        await database.close()


async def test_each_mode_connects_to_whom_it_should(
    server: TlsServer, authority: trustme.CA, files: Files
) -> None:
    server.present(authority.issue_cert("127.0.0.1"))
    for words in (
        {"sslmode": "require"},
        {"sslmode": "prefer"},
        {"sslmode": "verify-ca", "sslrootcert": files["ca.pem"]},
        {"sslmode": "verify-full", "sslrootcert": files["ca.pem"]},
        {"sslmode": "verify-full", "sslrootcert": files["ca.pem"], "channel_binding": "prefer"},
        {"sslmode": "require", "ssl_min_protocol_version": "TLSv1.3"},
    ):
        assert await is_encrypted(server.url("tls", **words)), words
    server.present(authority.issue_cert("db.example.com"))
    words = {"sslmode": "verify-ca", "sslrootcert": files["ca.pem"]}
    assert await is_encrypted(server.url("tls", **words)), "verify-ca compares no names"


@pytest.mark.parametrize(
    ("host", "valid_for", "words", "says"),
    [
        pytest.param(
            "127.0.0.1",
            timedelta(days=1),
            {"sslmode": "verify-ca", "sslrootcert": "other-ca.pem"},
            ("not signed by an authority in sslrootcert",),
            id="an authority that we do not know",
        ),
        pytest.param(
            "db.example.com",
            timedelta(days=1),
            {"sslmode": "verify-full", "sslrootcert": "ca.pem"},
            ("is for another host", "127.0.0.1", "sslmode=verify-ca does not compare it"),
            id="another host",
        ),
        pytest.param(
            "127.0.0.1",
            timedelta(days=-1),
            {"sslmode": "verify-full", "sslrootcert": "ca.pem"},
            ("has expired", "renew it"),
            id="expired",
        ),
    ],
)
async def test_a_servers_certificate_that_is_wrong(
    server: TlsServer,
    authority: trustme.CA,
    files: Files,
    host: str,
    valid_for: timedelta,
    words: dict[str, str],
    says: tuple[str, ...],
) -> None:
    now = datetime.now(UTC)
    server.present(
        authority.issue_cert(host, not_before=now - timedelta(days=9), not_after=now + valid_for)
    )
    url = server.url("tls", **{**words, "sslrootcert": files[words["sslrootcert"]]})
    assert_in_words(await error_of(url), server, says)


async def test_a_server_without_tls(server: TlsServer) -> None:
    server.present(None)
    for mode in ("require", "verify-ca", "verify-full"):
        words = {"sslmode": mode}
        if mode != "require":
            words["sslrootcert"] = str(server.server.folder / "ca.pem")
        found = await error_of(server.url("tls", **words))
        assert_in_words(found, server, ("the server has no TLS (ssl = off)", "sslmode"))


async def test_a_server_that_wants_tls_and_does_not_get_it(
    server: TlsServer, authority: trustme.CA
) -> None:
    server.present(authority.issue_cert("127.0.0.1"))
    found = await error_of(server.url("tls", sslmode="disable"))
    assert_in_words(found, server, ("no encryption", "sslmode=require"))


async def test_certificates_of_clients(
    server: TlsServer, authority: trustme.CA, files: Files
) -> None:
    server.present(authority.issue_cert("127.0.0.1"))

    def url(name: str) -> str:
        pair = {"sslcert": files[f"{name}.pem"], "sslkey": files[f"{name}.key"]}
        return server.url("certs", sslmode="require", **pair)

    assert await is_encrypted(url("app"))
    found = await error_of(server.url("certs", sslmode="require"))
    assert_in_words(found, server, ("valid client certificate", "sslcert and sslkey"))
    found = await error_of(url("somebody"))
    assert_in_words(found, server, ("sslcert is for another user",))
    found = await error_of(url("strangers"))
    assert_in_words(found, server, ("may not accept our certificate", "sslcert and sslkey"))


async def test_a_password_that_is_wrong(server: TlsServer) -> None:
    found = await error_of(server.url("plain"))
    assert_in_words(found, server, ('password authentication failed for user "app"',))


def test_a_command_says_the_same(server: TlsServer, authority: trustme.CA, files: Files) -> None:
    server.present(authority.issue_cert("db.example.com"))
    url = server.url("tls", sslmode="verify-full", sslrootcert=files["ca.pem"])
    done = dlr(["migrate"], {"DLR_DATABASE_URL": url})
    assert done.returncode == 1
    assert_in_words(done.stderr.strip(), server, ("is for another host",))
    assert "Traceback" not in done.stderr


def test_verifying_without_an_authority_is_refused_before_anything_is_tried(
    server: TlsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where psql would look for root.crt
    with pytest.raises(ValueError, match="sslrootcert"):
        Database(server.url("tls", sslmode="verify-full"))


def assert_in_words(found: str, server: TlsServer, says: tuple[str, ...]) -> None:
    assert found.startswith(f"PostgreSQL at 127.0.0.1:{server.server.port}, database "), found
    for each in says:
        assert each in found
    assert SECRET not in found
