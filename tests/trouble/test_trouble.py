"""Trouble of what Drumbeat leans on: everything goes on afterwards, and it is said once."""

import asyncio
import email
import os
import pwd
import resource
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select
from temporalio.client import Client

from drumbeat.campaign.states import HoldKind, MessageState
from drumbeat.machine.parts import Part, Running
from drumbeat.machine.temporal import free_ports, server_part
from drumbeat.store import holds
from drumbeat.store.schema import marks, messages
from drumbeat.temporal.client import connect
from drumbeat.temporal.register import prepare
from tests.postgres import Cluster, _programs, running_cluster
from tests.temporal_server import TemporalServer, built
from tests.trouble.stage import Stage, in_, people, stage
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

FEW = 6
"""Lines of the log with which a trouble is said, whatever the number of emails that meet it."""


@pytest.fixture
async def ready(
    tmp_path: Path, temporal_server: TemporalServer, temporal_client: Client
) -> AsyncIterator[Stage]:
    async with stage(tmp_path, temporal_client, temporal_server.address) as made:
        yield made


def troubles(of: Stage) -> Sequence[str]:
    """Lines of the log that are warnings or worse."""
    return [line for line in of.lines() if " WARNING " in line or " ERROR " in line]


async def test_a_database_that_is_locked_for_a_while_only_delays(ready: Stage) -> None:
    addresses = people(40)
    await ready.enroll(addresses, in_(4))
    await ready.start()
    lock = sqlite3.connect(ready.folder / "drumbeat.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    await asyncio.sleep(12)  # the trouble itself: all fall due in it
    assert ready.copies().total() == 0
    lock.execute("ROLLBACK")
    lock.close()
    await ready.until_sent(40)
    assert ready.copies() == dict.fromkeys(addresses, 1)
    assert len(ready.lines()) <= FEW, ready.lines()


async def test_a_full_disk_stops_what_must_be_written_and_nothing_is_lost(ready: Stage) -> None:
    """What a write past the end of the disk gets is what one past the limit of a file gets."""
    addresses = people(40)
    await ready.enroll(addresses, in_(5))
    worker = await ready.start()
    unlimited = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (4096, unlimited[1]))
    await until_trouble(ready)
    await asyncio.sleep(8)  # the trouble itself: some retries
    assert ready.copies().total() == 0
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, unlimited)
    await ready.until_sent(40)
    assert ready.copies() == dict.fromkeys(addresses, 1)
    assert len(ready.lines()) <= FEW, ready.lines()
    assert worker.returncode is None


async def until_trouble(of: Stage) -> None:
    await until(lambda: troubles(of), seconds=60)


async def test_failing_domains_hold_nobody_else_up(ready: Stage) -> None:
    """One in five people: their emails wait and are tried again, all others leave at once."""
    failing, fine = people(20, "failing.example"), people(80)
    ready.server.on(
        "RCPT",
        lambda argument: (
            "451 4.4.1 failing.example does not answer" if "failing.example" in argument else None
        ),
    )
    await ready.enroll([*failing, *fine])
    await ready.start()
    await ready.until_sent(len(fine))
    assert ready.copies() == dict.fromkeys(fine, 1)
    await ready.until(lambda states: states[MessageState.SCHEDULED] == len(failing))
    async with ready.store.read() as tx:
        now = await ready.store.now(tx)
        rep = (await tx.exec_driver_sql("SELECT id FROM reps")).scalar_one()
        assert await holds.of_target(tx, HoldKind.MAILBOX, rep, now) == []
    assert len(ready.lines()) <= FEW, ready.lines()


@dataclass(slots=True)
class OwnTemporal:
    """A Temporal server that a test may kill and start again on the same port."""

    part: Part
    folder: Path
    address: str
    running: Running | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {"TEMPORAL_ADDRESS": self.address}

    async def start(self) -> None:
        self.running = Running(self.part, self.folder, print)
        await self.running.start()
        await self.running.ready()

    async def kill(self) -> None:
        assert self.running is not None
        self.running.kill()
        await self.running.stop()


@asynccontextmanager
async def own_temporal(folder: Path) -> AsyncIterator[OwnTemporal]:
    (port,) = free_ports(1)
    part = server_part(built(), folder / "temporal.db", port, {})
    temporal = OwnTemporal(part, folder, f"127.0.0.1:{port}")
    await temporal.start()
    try:
        client = await connect(environment=temporal.environment, patience=timedelta(seconds=30))
        await prepare(client)
        yield temporal
    finally:
        await temporal.kill()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


def restart(cluster: Cluster, how: str) -> None:
    """Stop the server as `pg_ctl` does, and start it again."""
    with psycopg.connect(cluster.dsn("postgres")) as connection:
        [data] = connection.execute("SHOW data_directory").fetchone() or [""]
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    subprocess.run(
        [_programs() / "pg_ctl", "-D", data, "-m", how, "-w", "-t", "60", "restart"],
        check=True,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("how", ["fast", "immediate"])
async def test_a_postgresql_that_is_restarted_in_the_middle_loses_nothing(
    how: str,
    cluster: Cluster,
    tmp_path: Path,
    temporal_server: TemporalServer,
    temporal_client: Client,
) -> None:
    name = cluster.create_database("trouble")
    with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as connection:
        # As anywhere but in tests: what is committed outlives the server's death.
        connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = on'.encode())
    url, addresses = cluster.url(name), people(80)
    async with stage(tmp_path, temporal_client, temporal_server.address, url) as made:
        await made.enroll(addresses, in_(5))
        await made.start()
        await made.until_sent(5)
        await asyncio.to_thread(restart, cluster, how)
        await made.until_sent(len(addresses))
        assert made.copies() == dict.fromkeys(addresses, 1)
        assert len(made.lines()) <= FEW, made.lines()


async def test_while_temporal_is_gone_nothing_is_lost_and_little_is_said(
    tmp_path: Path, temporal_client: Client
) -> None:
    addresses = people(40)
    async with own_temporal(tmp_path) as temporal:
        client = await connect(environment=temporal.environment, patience=timedelta(seconds=30))
        async with stage(tmp_path, client, temporal.address) as made:
            await made.enroll(addresses, in_(8))
            worker = await made.start()
            await temporal.kill()
            await asyncio.sleep(15)  # the trouble itself: all fall due in it
            assert made.copies().total() == 0
            await temporal.start()
            await made.until_sent(40)
            assert made.copies() == dict.fromkeys(addresses, 1)
            assert worker.returncode is None
            await until(lambda: made.said("Temporal answers again") == 1)
            assert made.said("Temporal does not answer") == 1
            assert len(made.lines()) <= FEW, made.lines()


async def test_on_postgresql_a_workers_wrong_clock_does_not_count(
    postgres_cluster: Cluster,
    tmp_path: Path,
    temporal_server: TemporalServer,
    temporal_client: Client,
) -> None:
    """A worker whose clock is an hour ahead sends when it is due by the server's clock."""
    addresses = people(10)
    url = postgres_cluster.url(postgres_cluster.create_database("clock"))
    async with stage(tmp_path, temporal_client, temporal_server.address, url) as made:
        at = in_(6)
        await made.enroll(addresses, at)
        await made.start("-m", "tests.trouble.early_worker")
        await made.until_sent(10)
        async with made.store.read() as tx:
            now = await made.store.now(tx)
            sent = (await tx.execute(select(messages.c.sent_at))).scalars().all()
            marked = (await tx.execute(select(marks.c.at))).scalars().all()
        assert all(at <= each <= now for each in [*sent, *marked])
        assert made.said("an hour ahead") == 1
        dates = [email.message_from_bytes(one.content)["Date"] for one in made.server.received]
        assert all(parsedate_to_datetime(date) <= now for date in dates)
        assert troubles(made) == []
