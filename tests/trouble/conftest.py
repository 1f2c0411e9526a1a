from collections.abc import AsyncIterator

import pytest

from drumbeat.mail.rendering import Renderer
from drumbeat.store.engine import Store
from tests.activities.world import Clock, World


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    async with Renderer() as opened:
        yield opened


@pytest.fixture
async def world(store: Store, renderer: Renderer) -> World:
    """Real tables of both kinds, and Grace, who writes without limits."""
    clock = Clock()
    store._clock = clock
    made = World(store, clock, renderer)
    await made.staff()
    return made
