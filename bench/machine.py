"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from tests.support.postgresql import PostgresServer

PACKAGES = ("fastapi", "uvicorn", "uvloop", "httptools", "sqlalchemy", "asyncpg", "pydantic")

SETTINGS = (
    "shared_buffers",
    "max_wal_size",
    "min_wal_size",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
)
"""The settings of PostgreSQL that matter most to the figures."""


def describe(postgres: PostgresServer) -> dict[str, str]:
    """What a reader has to know to compare the figures with others."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "processor": f"{_processor()}, {os.cpu_count()} cores, shared by the service, PostgreSQL "
        "and the load process",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "PostgreSQL": f"{postgres.version().removeprefix('postgres (PostgreSQL) ')}, "
        + ", ".join(f"{name} {postgres.execute(f'show {name}')}" for name in SETTINGS)
        + "; it has log files to write over, as one that has been in use",
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
