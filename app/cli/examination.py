"""Examines a deployment for `dlr doctor`: the settings, and what they lead to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from app.errors import ConfigurationError, StoreUnavailable
from app.iovox.callback import CallbackHeaders
from app.iovox.client import IovoxClient
from app.ops.doctor.address import examine_address
from app.ops.doctor.database import examine_database, examine_processes
from app.ops.doctor.disk import examine_spool
from app.ops.doctor.findings import Finding
from app.ops.doctor.iovox import examine_iovox
from app.runtime.configured import callback_headers, iovox_proxy, iovox_tls, open_database
from app.runtime.traces import require_extra
from app.settings import NEEDED_TO_SERVE, Settings, read, unknown_variables, variable
from app.store.engine import Database

PATIENCE = 10.0
"""Seconds for iovox."""


async def examine(*, mounts: str | None = None) -> list[Finding]:
    """All findings, from the environment's settings. ``mounts``: see ``examine_spool``."""
    settings, faults = read(needs=NEEDED_TO_SERVE)
    found = [
        Finding("settings", f"{variable(name)} {fault}", _description(name))
        for name, fault in faults.items()
    ]
    found += [
        Finding("settings", f"{name} is not known and has no effect", "leave it out, or mend it")
        for name in unknown_variables(os.environ)
        if not faults
    ]
    headers = None
    try:
        headers = callback_headers(settings) if "callback_url_headers" not in faults else None
    except ConfigurationError as error:
        found.append(Finding("settings", _last_line(error), _description("callback_url_headers")))
    try:
        require_extra(settings)
    except ConfigurationError as error:
        remedy = "install it, or leave the variable out for no traces"
        found.append(Finding("settings", _last_line(error), remedy))
    found += examine_spool(Path(settings.spool_dir), mounts=mounts)
    found += await _of_database(settings, headers)
    if headers is not None and settings.public_url and "public_url" not in faults:
        found += await examine_address(settings.public_url, headers)
    if not {"iovox_url", "iovox_username", "iovox_secure_key"} & set(faults):
        found.append(await _of_iovox(settings, headers))
    if not any(one.check == "settings" for one in found):
        found.insert(0, Finding("settings", "All that are needed are set, and none is misspelt"))
    return found


async def _of_database(settings: Settings, headers: CallbackHeaders | None) -> list[Finding]:
    try:
        database = open_database(settings)
    except ConfigurationError as error:
        return [Finding("database", _last_line(error), _description("database_url"))]
    try:
        return await _examine(database, headers)
    except StoreUnavailable as error:
        return [Finding("database", error.detail, "see the database's log")]
    finally:
        await database.close()


async def _examine(database: Database, headers: CallbackHeaders | None) -> list[Finding]:
    found = await examine_database(database)
    if found[0].is_good:
        found += await examine_processes(database, headers.marks if headers else lambda _salt: [])
    return found


async def _of_iovox(settings: Settings, headers: CallbackHeaders | None) -> Finding:
    key: Any = settings.iovox_secure_key
    try:
        client = IovoxClient(
            base_url=settings.iovox_url,
            username=settings.iovox_username or "",
            secure_key=key.get_secret_value() if key else "",
            callback_url="",
            callback_headers=headers or CallbackHeaders("", b"", ()),
            pool_timeout=PATIENCE,
            connect_timeout=settings.iovox_connect_timeout,
            read_timeout=PATIENCE,
            max_connections=1,
            retry_on_500=False,
            tls=iovox_tls(settings),
            proxy=iovox_proxy(settings),
        )
    except (ConfigurationError, ValueError) as error:
        return Finding("iovox", str(error).splitlines()[-1].strip(), "mend the setting")
    try:
        return await examine_iovox(client, settings.iovox_url)
    finally:
        await client.aclose()


def _description(name: str) -> str:
    return f"set {variable(name)}: {Settings.model_fields[name].description}"


def _last_line(error: ConfigurationError) -> str:
    return error.detail.splitlines()[-1].strip()
