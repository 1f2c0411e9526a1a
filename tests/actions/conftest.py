from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from drumbeat.store.engine import Store
from tests.actions.desks import alan
from tests.mail.memory import MemoryMailer
from tests.office import Office, grace, open_office


@pytest.fixture
def mailer() -> MemoryMailer:
    return MemoryMailer()


def _url(store: Store) -> str:
    return store._url.render_as_string(hide_password=False)


@pytest.fixture
async def office(
    store: Store, temporal_client: Client, mailer: MemoryMailer
) -> AsyncIterator[Office]:
    """Grace and Alan at work, with real workflows, on both databases."""
    async with open_office(_url(store), temporal_client, mailer, grace(), alan()) as opened:
        yield opened


@pytest.fixture
async def quick_office(
    sqlite_store: Store, temporal_client: Client, mailer: MemoryMailer
) -> AsyncIterator[Office]:
    """As `office`, on SQLite alone: for what does not hang on the database."""
    async with open_office(_url(sqlite_store), temporal_client, mailer, grace(), alan()) as opened:
        yield opened
