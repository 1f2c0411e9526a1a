import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from drumbeat.cli.app import main
from drumbeat.mail.rendering import Renderer
from drumbeat.store.engine import Store, migrate, open_store
from tests.activities.world import Clock, World

REPS = """
reps:
  - email: grace@example.com
    name: Grace Hopper
    timezone: America/New_York
    mailbox:
      smtp: smtp://127.0.0.1:{port}
"""


@dataclass(frozen=True, slots=True)
class Printed:
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str


Typed = Callable[..., Awaitable[Printed]]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    """Runs a command as it is typed, in this process."""

    async def run(*arguments: str) -> Printed:
        capsys.readouterr()
        status = await asyncio.to_thread(main, arguments)
        return Printed(status, *capsys.readouterr())

    return run


@pytest.fixture
async def command_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """The database that commands use, on SQLite, and a reps file with Grace in it."""
    url = f"sqlite:///{tmp_path / 'drumbeat.db'}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRUMBEAT_DATABASE_URL", url)
    monkeypatch.setenv("DRUMBEAT_SECRET_KEY", "an-example-secret-key-0123456789abcdef")
    (tmp_path / "reps.yaml").write_text(REPS.format(port=1))
    await migrate(url)
    store = await open_store(url)
    yield store
    await store.close()


@pytest.fixture
async def command_world(command_store: Store) -> AsyncIterator[World]:
    """Enrollments in that database, without workflows."""
    clock = Clock()
    command_store._clock = clock
    async with Renderer() as renderer:
        world = World(command_store, clock, renderer)
        await world.staff()
        yield world
