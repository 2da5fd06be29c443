"""Backups put back by the commands of docs/operations.md, while replicas run or are stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.crash.clients import Clients
from tests.crash.ledger import Ledger
from tests.crash.service import HEADERS
from tests.crash.waiting import until
from tests.record.keyed import KeyedSenders
from tests.record.stage import Stage, assert_nothing_is_lost, stage
from tests.support.long import cases
from tests.support.postgresql import PostgresServer, find_binaries
from tests.support.process import PROJECT

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.postgresql, pytest.mark.crash, pytest.mark.timeout(240)]


class Commands:
    """The blocks of "Backups" in docs/operations.md."""

    def __init__(self, folder: Path) -> None:
        text = (PROJECT / "docs" / "operations.md").read_text()
        section = text.partition("\n## Backups\n")[2].partition("\n## ")[0]
        self.back_up, self.swap, self.in_place = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
        self._folder = folder

    async def run(self, block: str, url: str) -> None:
        path = f"{find_binaries()}:{os.environ['PATH']}"
        env = os.environ | {"PATH": path, "DLR_DATABASE_URL": url}
        done = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=self._folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr


async def replicas(on: Stage) -> None:
    """Two with a spool each; the first one is two processes."""
    await on.replica("--workers", "2")
    await on.replica()
    await asyncio.sleep(2.5)


@pytest.mark.parametrize("how", cases("swapped", "in pieces", "stopped", "elsewhere"))
async def test_a_dump_is_put_back(tmp_path: Path, own_postgres: PostgresServer, how: str) -> None:
    """Under running replicas; while they are stopped; and into a database of another name."""
    commands = Commands(tmp_path)
    ledger = Ledger(how.replace(" ", "-"), HEADERS)
    async with AsyncExitStack() as stack:
        for name in ("dlr", "dlr_old", "dlr_restored", "elsewhere"):
            stack.callback(own_postgres.drop_database, name)
        url = own_postgres.create_database("dlr")
        on = await stack.enter_async_context(stage(tmp_path, url, url))
        await replicas(on)
        senders = KeyedSenders(on.ports, on.key)
        async with Clients(on.ports[0], ledger, per_second=60) as receipts, senders:
            await receipts.answered(30, within=20)
            await commands.run(commands.back_up, url)
            queued = await on.queue(50)
            await receipts.answered(60, within=20)
            before = senders.statuses[201]
            await until(lambda: senders.statuses[201] >= before + 20, within=20)
            if how == "swapped":
                await commands.run(commands.swap, url)
            elif how == "in pieces":
                await commands.run(commands.in_place.replace("--single-transaction", ""), url)
            if how in {"swapped", "in pieces"}:
                before = senders.statuses[201]
                await until(lambda: senders.statuses[201] >= before + 10, within=30)
        if how in {"stopped", "elsewhere"}:
            for service in on.services:
                await service.terminate()
            if how == "elsewhere":
                other = own_postgres.create_database("elsewhere")
                await commands.run(f"pg_restore --exit-on-error --dbname={other} dlr.dump", url)
                url = other
            else:
                await commands.run(commands.in_place, url)
            for service in on.services:
                await service.start(env={"DLR_DATABASE_URL": url})
        took = await assert_nothing_is_lost(on, url, ledger, senders, queued)
        log.info("%s: %.1f s, %s, %s", how, took, senders.statuses, ledger.statuses)
