"""Notice that the database was restored from a backup, before a worker sends anything.

Temporal knows what has begun and ended since: a workflow without a row, or one that is over while
its enrollment still runs in the tables, is the sign. What is lost without such a sign shows itself
to the first activity of its enrollment (`drumbeat.store.recording`).
"""

import logging
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus

from drumbeat.actions.starting import MEMO
from drumbeat.store import restoring
from drumbeat.store.engine import Store
from drumbeat.store.schema import enrollments, events
from workflows.messages import WORKFLOW_TYPE

_LOG = logging.getLogger("drumbeat.restoring")

CLOCKS = timedelta(minutes=2)
"""By how much the database's clock and Temporal's may differ."""
AT_MOST = 200
"""Workflows looked at, of each kind: one is enough."""


async def hold_if_restored(store: Store, client: Client, task_queue: str) -> bool:
    """Hold all mailboxes if the database is older than the workflows; whether it is.

    Args:
        store: The database.
        client: Connected to Temporal.
        task_queue: Only workflows of this queue are Drumbeat's own.
    """
    async with store.read() as tx:
        last = (await tx.execute(select(func.max(events.c.at)))).scalar_one()
    since = (last or datetime(2000, 1, 1, tzinfo=UTC)) - CLOCKS
    ours = f"WorkflowType = '{WORKFLOW_TYPE}' AND TaskQueue = '{task_queue}'"
    moment = since.isoformat()
    found = await _first(client, f"{ours} AND StartTime > '{moment}'")
    found += await _first(client, f"{ours} AND CloseTime > '{moment}'")
    if not await _is_newer(store, found):
        return False
    async with store.write() as tx:
        held = await restoring.hold_all(tx, await store.now(tx))
    if held:
        _LOG.error("all mailboxes are held: %s", restoring.REASON)
    return True


async def _first(client: Client, query: str) -> list[WorkflowExecution]:
    listed = client.list_workflows(query, page_size=AT_MOST, limit=AT_MOST)
    return [execution async for execution in listed]


async def _is_newer(store: Store, found: list[WorkflowExecution]) -> bool:
    whose = {execution.run_id: await execution.memo_value(MEMO, None) for execution in found}
    # Rows are written before workflows start, and ends before they close: read afterwards, both
    # are there.
    wanted = select(enrollments.c.id, enrollments.c.ended_at).where(
        enrollments.c.id.in_({each for each in whose.values() if isinstance(each, str)})
    )
    async with store.read() as tx:
        ended = {row.id: row.ended_at for row in await tx.execute(wanted)}
    for execution in found:
        enrollment_id = whose[execution.run_id]
        if enrollment_id not in ended:
            return True
        is_over = execution.status is WorkflowExecutionStatus.COMPLETED
        if is_over and ended[enrollment_id] is None:
            return True
    return False
