"""Hands new events to everybody who looks at the Live Feed: one look into the tables for all."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from sqlalchemy import Row

from drumbeat.store.engine import Store
from drumbeat.store.errors import StoreError
from drumbeat.store.lists import feed

EVERY = timedelta(milliseconds=500)
OVERLAP = 200
"""Numbers that are looked at again: on PostgreSQL a lower one may be committed after a higher."""
AT_ONCE = 500
"""Events that are read in one go for a listener who was away."""
QUIET = timedelta(seconds=15)
"""After so long without an event a comment keeps the connection open."""

Events = Sequence[Row[Any]]


class Feed:
    """One for each process; it looks only while somebody listens."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: set[asyncio.Queue[Events]] = set()
        self._known: deque[int] = deque(maxlen=4 * OVERLAP)
        self._last = 0
        self._looking: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self.rendered: dict[tuple[int, str], str] = {}
        """Event and zone -> its row: written once for all who listen there."""

    async def listen(self, after: int | None) -> AsyncGenerator[Events, None]:
        """Events as they happen; an empty batch now and then, where nothing does.

        Args:
            after: The number of the last event that the listener has seen: what happened since
                comes first, so that a lost connection leaves no gap. None: from now on.
        """
        queue: asyncio.Queue[Events] = asyncio.Queue()
        self._listeners.add(queue)
        given: set[int] = set()
        try:
            async with self._turn:
                if self._looking is None:
                    await self._begin()
            while after is not None:
                async with self._store.read() as tx:
                    missed = await feed.since(tx, after, limit=AT_ONCE)
                given.update(row.id for row in missed)
                yield missed
                after = missed[-1].id if len(missed) == AT_ONCE else None
            while True:
                try:
                    new = await asyncio.wait_for(queue.get(), QUIET.total_seconds())
                except TimeoutError:
                    yield ()
                else:
                    yield [row for row in new if row.id not in given]
        finally:
            self._listeners.discard(queue)
            if not self._listeners and self._looking is not None:
                self._looking.cancel()
                await asyncio.wait({self._looking})  # it gives its connection back
                self._looking = None

    async def _begin(self) -> None:
        async with self._store.read() as tx:
            self._last = await feed.newest(tx)
            known = await feed.since(tx, self._last - OVERLAP)
        self._known.extend(row.id for row in known)
        self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(EVERY.total_seconds())
            # A database that is away is waited out: what happens meanwhile comes afterwards.
            with suppress(StoreError):
                await self._look_once()

    async def _look_once(self) -> None:
        async with self._store.read() as tx:
            new = await feed.since(tx, self._last - OVERLAP, tuple(self._known))
        if not new:
            return
        self._known.extend(row.id for row in new)
        self._last = max(self._last, *(row.id for row in new))
        for queue in self._listeners:
            queue.put_nowait(new)
