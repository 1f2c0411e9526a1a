"""Deliver what workflows must be told: the outbox is drained until each message is confirmed.

Run by every worker. A row that one worker has claimed is left alone by the others until its claim
runs out, so that a worker that dies half-way costs a delay and nothing else.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Row
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from drumbeat.actions import asking
from drumbeat.actions.errors import ActionError
from drumbeat.actions.starting import start_enrollment
from drumbeat.store import ledger, outbox
from drumbeat.store.engine import Store
from drumbeat.store.errors import StoreError

_LOG = logging.getLogger("drumbeat.delivery")

START = "start"
UPDATES = frozenset({"mended", "resolve_doubt", "retry_step", "skip_step"})
"""Kinds that are updates; all others are signals."""

MOST_REFUSALS = 8
"""Of a doubt that is to be resolved, before it is left to a person."""

BATCH = 200
AT_ONCE = 20
CLAIM = timedelta(seconds=20)
"""Of a batch that takes longer some are told twice, which changes nothing."""
EMPTY_PAUSE = timedelta(seconds=1)
"""Between two looks into an outbox that had nothing to deliver."""

DELIVERED = "delivered"
ACCEPTED = "accepted, not yet shown"
NOBODY = "the workflow is over"
OVERTAKEN = "the doubt is over, or another one"


class Delivery:
    """Drains the outbox. Its parts come from the worker."""

    def __init__(
        self,
        store: Store,
        client: Client,
        task_queue: str,
        *,
        patience: timedelta = asking.PATIENCE,
    ) -> None:
        self._store = store
        self._client = client
        self._task_queue = task_queue
        self._patience = patience

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until told to stop; trouble with the database or Temporal is waited out."""
        was_in_trouble = False
        while not stop.is_set():
            delivered = 0
            try:
                delivered = await self.drain()
                was_in_trouble = False
            except (StoreError, RPCError) as error:
                if not was_in_trouble:  # said once, not every second
                    _LOG.warning("the outbox waits: %s", type(error).__name__)
                was_in_trouble = True
            if not delivered:
                await _pause(stop)

    async def drain(self) -> int:
        """Deliver one batch of what is due; how many rows were tried."""
        async with self._store.read() as tx:
            if not await outbox.has_waiting(tx, await self._store.now(tx)):
                return 0
        async with self._store.write() as tx:
            now = await self._store.now(tx)
            rows = await outbox.waiting(tx, now, BATCH)
            await outbox.claim(tx, [row.id for row in rows], now + CLAIM)
        slots = asyncio.Semaphore(AT_ONCE)
        # What one enrollment is told keeps its order.
        lanes: dict[str, list[Row[Any]]] = {}
        for row in rows:
            lanes.setdefault(row.enrollment_id, []).append(row)

        async def deliver(lane: Sequence[Row[Any]]) -> list[tuple[Row[Any], str, bool]]:
            async with slots:
                return [(row, *await self._deliver(row)) for row in lane]

        answers = await asyncio.gather(*(deliver(lane) for lane in lanes.values()))
        async with self._store.write() as tx:
            now = await self._store.now(tx)
            for row, answer, is_done in (one for lane in answers for one in lane):
                if is_done:
                    await outbox.done(tx, row.id, now, answer)
                else:
                    await outbox.postpone(tx, row, now, answer)
        return len(rows)

    async def _deliver(self, row: Row[Any]) -> tuple[str, bool]:
        """What came of one message, and whether that is final."""
        try:
            if row.kind == START:
                await start_enrollment(
                    self._store, self._client, row.enrollment_id, self._task_queue
                )
                return DELIVERED, True
            payload = {**row.payload, "enrollment_id": row.enrollment_id}
            if row.kind in UPDATES:
                return await self._ask(row, payload)
            await self._client.get_workflow_handle(row.workflow_id).signal(row.kind, payload)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                return f"Temporal: {error.status.name}", False
            return _nobody(row)
        return DELIVERED, True

    async def _is_meant(self, row: Row[Any]) -> bool:
        """Whether the doubt that a message is to end still stands, and is not a later attempt's."""
        attempt = row.payload.get("attempt")
        if attempt is None:
            return True
        async with self._store.read() as tx:
            return await ledger.is_in_doubt(tx, row.enrollment_id, row.payload["step"], attempt)

    async def _ask(self, row: Row[Any], payload: dict[str, Any]) -> tuple[str, bool]:
        """As `_deliver`, for an update: a workflow that does not answer keeps nobody waiting."""
        if row.kind == "resolve_doubt" and not await self._is_meant(row):
            return OVERTAKEN, True
        try:
            answer = await asking.ask(
                self._client,
                row.workflow_id,
                row.kind,
                payload,
                update_id=row.key,
                wait=self._patience,
            )
        except asking.Refused as refused:
            # The workflow may not have heard of the doubt yet that is to end: minutes, all in all.
            is_early = row.kind == "resolve_doubt" and row.tries < MOST_REFUSALS
            return f"refused: {refused}", not is_early
        except asking.NotRunning:
            return _nobody(row)
        except ActionError as error:
            return str(error), False
        # What a workflow has accepted lies in its history: it is carried out, if later.
        return (DELIVERED if answer is asking.Answer.DONE else ACCEPTED), True


def _nobody(row: Row[Any]) -> tuple[str, bool]:
    """There is no such workflow: not yet, or not any more."""
    if row.started_at is None:
        return "the workflow was not started yet", False
    return NOBODY, True


async def _pause(stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), EMPTY_PAUSE.total_seconds())
    except TimeoutError:
        return
