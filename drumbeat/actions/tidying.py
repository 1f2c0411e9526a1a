"""Deletes what nothing can need any more: marks that no limit counts, sessions that are over."""

import asyncio
import logging
from datetime import timedelta

from sqlalchemy import delete

from drumbeat.reps import Reps
from drumbeat.store import ledger
from drumbeat.store.engine import Store
from drumbeat.store.errors import StoreError
from drumbeat.store.schema import sessions

_LOG = logging.getLogger("drumbeat.tidying")

EVERY = timedelta(hours=1)
SESSIONS_KEPT = timedelta(days=30)


class Tidying:
    """Tidies every hour. Its parts come from the worker."""

    def __init__(self, store: Store, reps: Reps) -> None:
        self._store = store
        self._reps = reps

    async def run(self, stop: asyncio.Event) -> None:
        """Tidy now and every hour, until told to stop."""
        while not stop.is_set():
            try:
                await self.tidy()
            except StoreError as error:
                _LOG.warning("tidied later: %s", type(error).__name__)
            try:
                await asyncio.wait_for(stop.wait(), EVERY.total_seconds())
            except TimeoutError:
                continue

    async def tidy(self) -> None:
        """Delete once.

        Raises:
            StoreError: The database cannot take it.
        """
        # First emails are counted by date, wherever the mailbox's owner is: two days hold that.
        spans = [limit.span for rep in self._reps for limit in rep.mailbox.limits]
        kept = max(spans, default=timedelta()) + timedelta(days=2)
        async with self._store.write() as tx:
            now = await self._store.now(tx)
            await ledger.forget_old_marks(tx, now, kept)
            await tx.execute(delete(sessions).where(sessions.c.expires_at < now - SESSIONS_KEPT))
