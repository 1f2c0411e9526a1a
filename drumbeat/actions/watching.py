"""Looks at the tables now and then, for the metrics and the health of a worker."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta

from prometheus_client import Gauge
from sqlalchemy import func, select

from drumbeat.campaign.states import MessageState
from drumbeat.store.engine import Store
from drumbeat.store.errors import StoreError
from drumbeat.store.schema import enrollments, messages, outbox

EVERY = timedelta(seconds=10)
STALE_AFTER = timedelta(seconds=60)

ENROLLMENTS = Gauge("drumbeat_enrollments", "Running enrollments, by state.", ["state"])
WAITING = Gauge("drumbeat_emails_waiting", "Emails that wait, by reason.", ["reason"])
UNSENT = Gauge("drumbeat_emails_unsent", "Emails that are not sent yet, by state.", ["state"])
OUTBOX = Gauge("drumbeat_outbox_waiting", "Messages to workflows that are not confirmed yet.")

_UNSENT = (
    MessageState.SCHEDULED,
    MessageState.SENDING,
    MessageState.BLOCKED,
    MessageState.FAILED,
    MessageState.IN_DOUBT,
)


class Watch:
    """Counts what stands in the tables, and notes when they last answered."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._answered_at = time.monotonic()

    @property
    def trouble(self) -> str | None:
        """Why the worker is not healthy; None: it is."""
        if time.monotonic() - self._answered_at > STALE_AFTER.total_seconds():
            return f"the database has not answered for {STALE_AFTER.seconds} s"
        return None

    async def run(self, stop: asyncio.Event) -> None:
        """Look until told to stop."""
        while not stop.is_set():
            # Told by `trouble`, and in the log by whoever needed the database for work.
            with suppress(StoreError):
                await self.look()
            try:
                await asyncio.wait_for(stop.wait(), EVERY.total_seconds())
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Count once.

        Raises:
            StoreError: The database does not answer.
        """
        state, reason = enrollments.c.state, messages.c.reason
        async with self._store.read() as tx:
            running = await tx.execute(
                select(state, func.count()).where(enrollments.c.ended_at.is_(None)).group_by(state)
            )
            by_state = await tx.execute(
                select(messages.c.state, func.count())
                .where(messages.c.state.in_(_UNSENT))
                .group_by(messages.c.state)
            )
            by_reason = await tx.execute(
                select(reason, func.count())
                .where(messages.c.state == MessageState.SCHEDULED, messages.c.why.is_not(None))
                .group_by(reason)
            )
            told = await tx.execute(
                select(func.count()).select_from(outbox).where(outbox.c.delivered_at.is_(None))
            )
            _show(ENROLLMENTS, ((row[0], row[1]) for row in running))
            _show(UNSENT, ((row[0], row[1]) for row in by_state))
            _show(WAITING, ((row[0], row[1]) for row in by_reason))
            OUTBOX.set(told.scalar_one())
        self._answered_at = time.monotonic()


def _show(gauge: Gauge, counts: Iterable[tuple[str, int]]) -> None:
    gauge.clear()
    for label, count in counts:
        gauge.labels(label).set(count)
