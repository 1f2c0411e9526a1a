import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker

from drumbeat.machine import temporal
from drumbeat.machine.build import PACKAGES, Build, Say, folder
from drumbeat.machine.parts import Running
from drumbeat.machine.temporal import (
    Built,
    DevServer,
    Elsewhere,
    choose,
    describe,
    server_part,
    ui_part,
)
from drumbeat.settings import Settings
from drumbeat.temporal.client import connect
from drumbeat.temporal.register import prepare
from tests.machine.test_build import program
from tests.ports import free_port
from tests.temporal_server import built

TEMPORAL = 'echo "temporal version 1.9.1 (Server 1.32.0, UI 2.54.1)"'


@workflow.defn(sandboxed=False)
class Greeting:
    @workflow.run
    async def run(self) -> str:
        return "hello"


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine with nothing: returns the only folder on its path."""
    for name in ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "none.toml"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    monkeypatch.setenv("PATH", str(bin_folder))
    yield bin_folder


@pytest.fixture
def closed_network(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(folder: Path, say: Say) -> None:
        return None

    monkeypatch.setattr(temporal, "_download", nothing)


def cache_a_build() -> None:
    folder().mkdir(parents=True)
    for name in PACKAGES:
        program(folder() / name, 'echo "temporal version 1.32.0"')


async def test_a_configured_address_comes_first(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(machine / "temporal", TEMPORAL)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example:7233")
    server = await choose(print)
    assert server == Elsewhere("temporal.example:7233")
    assert describe(server) == "Temporal server: temporal.example:7233 (TEMPORAL_ADDRESS is set)"


async def test_a_recent_temporal_program_comes_before_the_cached_build(machine: Path) -> None:
    cache_a_build()
    program(machine / "temporal", TEMPORAL)
    server = await choose(print)
    assert isinstance(server, DevServer)
    assert server.version == (1, 32, 0)
    assert "is on the path" in describe(server)


async def test_an_older_temporal_program_is_passed_over_and_named(machine: Path) -> None:
    cache_a_build()
    program(machine / "temporal", 'echo "temporal version 1.5.1 (Server 1.29.1, UI 2.40.0)"')
    server = await choose(print)
    assert isinstance(server, Built)
    assert server.version == (1, 32, 0)
    assert "the cached build; " in describe(server)
    assert "is older than 1.9" in describe(server)


async def test_a_downloaded_program_is_used_again(tmp_path: Path) -> None:
    downloads = tmp_path / "cache" / "drumbeat" / "temporal-program"
    downloads.mkdir(parents=True)
    program(downloads / "temporal-1.9.1", TEMPORAL)
    server = await choose(print)
    assert isinstance(server, DevServer)
    assert "downloaded before" in describe(server)


@pytest.mark.usefixtures("closed_network")
async def test_without_any_of_them_it_is_built(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def build(say: Say) -> Build:
        cache_a_build()
        return Build(folder())

    monkeypatch.setattr(temporal, "find_or_build", build)
    server = await choose(print)
    assert "(built with Go)" in describe(server)


def test_the_temporal_program_gets_ports_database_attributes_and_dynamic_settings(
    tmp_path: Path,
) -> None:
    settings = Settings(home=tmp_path, temporal_port=12345, temporal_ui_port=12346)
    (part,) = DevServer(Path("/bin/temporal"), (1, 32, 0), "").parts(settings, {})
    assert part.command[:3] == ("/bin/temporal", "server", "start-dev")
    assert {
        "--ip=127.0.0.1",
        "--port=12345",
        "--ui-port=12346",
        f"--db-filename={tmp_path / 'temporal.db'}",
        "--search-attribute=NextActionAt=Datetime",
        "--dynamic-config-value=frontend.WorkflowTimeSkippingEnabled=true",
        '--dynamic-config-value=history.timerProcessorMaxTimeShift="10ms"',
    } <= set(part.command)


async def test_a_killed_server_goes_on_where_it_was_on_other_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task_queue: str
) -> None:
    monkeypatch.undo()  # the real cache
    build = built()

    async def start() -> tuple[Running, Client]:
        port = free_port()
        running = Running(server_part(build, tmp_path / "temporal.db", port, {}), tmp_path, print)
        await running.start()
        address = f"127.0.0.1:{port}"
        client = await connect(environment={"TEMPORAL_ADDRESS": address})
        await prepare(client)
        return running, client

    server, client = await start()
    await client.start_workflow(Greeting.run, id=task_queue, task_queue=task_queue)
    server.kill()
    await server.stop()
    server, client = await start()
    async with Worker(client, task_queue=task_queue, workflows=[Greeting]):
        handle = client.get_workflow_handle(task_queue, result_type=str)
        assert await asyncio.wait_for(handle.result(), 20) == "hello"
    server.kill()
    await server.stop()


async def test_the_ui_answers_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    port = free_port()
    running = Running(ui_part(built(), free_port(), port, {}), tmp_path, print)
    await running.start()
    await running.ready()
    await running.stop()


def test_the_members_of_a_killed_server_are_forgotten(tmp_path: Path) -> None:
    database = tmp_path / "temporal.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE cluster_membership (host_id TEXT)")
        connection.execute("INSERT INTO cluster_membership VALUES ('dead')")
    server_part(Build(tmp_path), database, 12345, {})
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM cluster_membership").fetchall() == [(0,)]
