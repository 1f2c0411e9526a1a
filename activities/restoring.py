"""Hold all mailboxes where the tables lack what a workflow knows: a backup was restored."""

import logging
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.outcomes import Held, NotSent
from drumbeat.campaign.states import MessageState
from drumbeat.store import holds, restoring
from drumbeat.store.engine import Store
from drumbeat.store.errors import RowMissing
from drumbeat.store.ledger import Message

_LOG = logging.getLogger("drumbeat.restoring")

AGAIN_AFTER = timedelta(minutes=5)
"""A row comes back by `check`, or never: to ask every minute helps nobody."""


async def may_have_left(tx: AsyncConnection, against: Held | NotSent, message: Message) -> bool:
    """Whether an earlier attempt may have handed the email over, and the backup lost its marks."""
    if activity.info().attempt == 1 or message.state != MessageState.SCHEDULED:
        return False
    hold = await holds.find(tx, against.hold_id) if isinstance(against, Held) else None
    return hold is not None and hold.reason == restoring.REASON


class _Restored(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, store: Store) -> None:
        super().__init__(next)
        self._store = store

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # whatever it returns
        """Run an activity; where it misses a row, nothing leaves from now on."""
        try:
            return await super().execute_activity(input)
        except RowMissing as error:
            async with self._store.write() as tx:
                held = await restoring.hold_all(tx, await self._store.now(tx))
            if held:  # said once, not for each of those who are missing
                _LOG.error("all mailboxes are held: %s (%s)", restoring.REASON, error)
            raise ApplicationError(
                "the tables lack a row",
                type="RowMissing",
                next_retry_delay=AGAIN_AFTER,
                category=ApplicationErrorCategory.BENIGN,
            ) from None


class RestoreInterceptor(Interceptor):
    """Holds all mailboxes when an activity misses a row."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Stand around one activity."""
        return _Restored(next, self._store)
