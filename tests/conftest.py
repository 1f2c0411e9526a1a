"""What the whole test session shares: one PostgreSQL cluster, one Temporal server."""

import atexit
import os
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from drumbeat.store.engine import Store, migrate, open_store
from drumbeat.store.schema import metadata
from drumbeat.temporal.client import connect
from tests.postgres import Cluster, running_cluster
from tests.temporal_server import TemporalServer, running_server


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres_url(postgres_cluster: Cluster) -> str:
    """An empty database, shared by the session, as `DRUMBEAT_DATABASE_URL` names one."""
    return postgres_cluster.url(postgres_cluster.create_database("drumbeat"))


@pytest.fixture
async def sqlite_store(tmp_path: Path) -> AsyncIterator[Store]:
    """An open SQLite database with the tables of now, empty but for the key of ids."""
    url = f"sqlite:///{tmp_path / 'drumbeat.db'}"
    await migrate(url)
    store = await open_store(url)
    yield store
    await store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open database with the tables of now, empty but for the key of ids; on both kinds."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'drumbeat.db'}"
        await migrate(url)
    else:
        url = request.getfixturevalue("postgres_url")
        await migrate(url)
        await _empty(url)
    opened = await open_store(url)
    yield opened
    await opened.close()


async def _empty(url: str) -> None:
    """Delete all rows: quicker than to make a new database for every test."""
    store = await open_store(url)
    async with store.write() as tx:
        for table in reversed(metadata.sorted_tables):
            if table.name != "keys":
                await tx.execute(table.delete())
    await store.close()


@pytest.fixture(scope="session")
async def temporal_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[TemporalServer]:
    """A server of this session's own, in which time can be skipped for one workflow."""
    async with running_server(tmp_path_factory.mktemp("temporal")) as server:
        yield server


@pytest.fixture(scope="session")
async def temporal_client(temporal_server: TemporalServer) -> Client:
    """Connected as Drumbeat connects; the namespace and its search attributes are registered."""
    return await connect(environment=temporal_server.environment, patience=timedelta(seconds=10))


@pytest.fixture
def task_queue() -> str:
    """A name of this test's own, for its queue and its workflow ids."""
    return f"test-{uuid.uuid4().hex[:12]}"


_sessions: list[pytest.Session] = []


def pytest_sessionstart(session: pytest.Session) -> None:
    _sessions.append(session)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """End the process without the interpreter's own end, with the status that pytest found.

    A process that used Temporal's SDK crashes there now and then (sdk-python issue 300), and its
    status with it.
    """
    if not _sessions:
        return
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(_sessions[0].exitstatus))
