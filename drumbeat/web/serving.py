"""Opens the parts of the web application and closes them again."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from temporalio.client import Client

from activities.letters import Letters
from drumbeat.actions import signing
from drumbeat.actions.errors import ActionError
from drumbeat.actions.reps_file import open_reps
from drumbeat.mail.links import Links
from drumbeat.mail.rendering import Renderer
from drumbeat.reps import Reps
from drumbeat.settings import Settings
from drumbeat.store import users
from drumbeat.store.engine import Store, open_store
from drumbeat.store.users import Role
from drumbeat.temporal.client import connect
from drumbeat.web.site import Site
from drumbeat.web.starting import UNDER_UP


@asynccontextmanager
async def open_site(settings: Settings) -> AsyncIterator[Site]:
    """The site's parts while the block lasts.

    Raises:
        RepsFileFaulty: The reps file has faults.
        StoreError: The database cannot be used.
    """
    async with AsyncExitStack() as stack:
        store = await open_store(settings.database)
        stack.push_async_callback(store.close)
        stop = asyncio.Event()
        file = await open_reps(settings, store)
        reps = file.reps
        following = asyncio.create_task(file.run(stop))
        stack.push_async_callback(asyncio.wait, {following})
        stack.callback(stop.set)
        links = Links(settings.public_url, settings.secret_keys)
        renderer = await stack.enter_async_context(Renderer())
        is_up = os.environ.get(UNDER_UP) == "1"
        yield Site(
            store=store,
            links=links,
            reps=reps,
            letters=Letters(renderer, links, reps),
            connect=_Connection(settings).get,
            task_queue=settings.task_queue,
            is_secure=settings.public_url.startswith("https://"),
            host_user=await _host_user(store, reps) if is_up else None,
            uploads=settings.home / "uploads",
            temporal_ui=f"http://127.0.0.1:{settings.temporal_ui_port}" if is_up else None,
        )


class _Connection:
    """The connection to Temporal, opened when it is first needed: pages are shown without it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = asyncio.Lock()
        self._client: Client | None = None

    async def get(self) -> Client:
        """The open connection.

        Raises:
            TemporalUnreachable: It does not answer.
        """
        async with self._turn:
            if self._client is None:
                self._client = await connect(self._settings)
            return self._client


async def _host_user(store: Store, reps: Reps) -> str | None:
    """The first rep of the file, made a user: who sits at this machine may do everything."""
    rep = next(iter(reps), None)
    if rep is None:
        return None
    async with store.read() as tx:
        is_known = await users.find(tx, rep.email) is not None
    if not is_known:
        try:
            await signing.add_user(store, rep.email, rep.name, Role.ADMIN, None)
        except ActionError:
            return rep.email  # another process was faster
    return rep.email
