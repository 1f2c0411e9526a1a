from collections.abc import AsyncIterator

import pytest

from drumbeat.mail.rendering import Renderer
from drumbeat.store.engine import Store
from tests.activities.world import Clock, World


@pytest.fixture(scope="session")
async def renderer() -> AsyncIterator[Renderer]:
    async with Renderer() as running:
        yield running


@pytest.fixture
async def world(store: Store, renderer: Renderer) -> World:
    """Tables on both databases; Grace writes, through a mailer that keeps what it is given."""
    clock = Clock()
    store._clock = clock  # the fixture's store goes by the database's
    world = World(store, clock, renderer)
    await world.staff()
    return world


@pytest.fixture
async def quick_world(sqlite_store: Store, renderer: Renderer) -> World:
    """As `world`, on SQLite alone: for what does not hang on the database."""
    clock = Clock()
    sqlite_store._clock = clock
    world = World(sqlite_store, clock, renderer)
    await world.staff()
    return world
