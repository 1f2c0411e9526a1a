"""The figures around every page, in one statement."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign.states import HoldKind, TaskStatus
from drumbeat.store import holds
from drumbeat.store.lists.emails import needs_a_decision
from drumbeat.store.schema import holds as hold_rows
from drumbeat.store.schema import marks, messages, reps, tasks

_A_DAY = timedelta(hours=24)


async def figures(
    tx: AsyncConnection, own: ColumnElement[bool], user_id: str, now: datetime
) -> Row[Any]:
    """A user's zone, open tasks, emails to decide, and the use of the mailbox in 24 hours.

    Args:
        tx: A transaction.
        own: Which rows of `messages` the user may see.
        user_id: Also the rep's id, and the mailbox's.
        now: UTC.
    """
    lately = and_(marks.c.mailbox == user_id, marks.c.at > now - _A_DAY)
    open_tasks = select(func.count()).where(
        tasks.c.rep_id == user_id,
        tasks.c.status.in_((TaskStatus.OPEN, TaskStatus.SCHEDULED)),
    )
    undecided = select(func.count()).select_from(messages).where(own, needs_a_decision())
    used = select(func.count()).where(lately, marks.c.handed_over)
    waiting = select(func.count()).where(lately, ~marks.c.handed_over)
    is_held = exists().where(
        holds.is_set(now), hold_rows.c.kind == HoldKind.MAILBOX, hold_rows.c.target == user_id
    )
    wanted = select(
        select(reps.c.timezone).where(reps.c.id == user_id).scalar_subquery().label("zone"),
        open_tasks.scalar_subquery().label("tasks"),
        undecided.scalar_subquery().label("undecided"),
        used.scalar_subquery().label("used"),
        waiting.scalar_subquery().label("waiting"),
        is_held.label("is_held"),
    )
    return (await tx.execute(wanted)).one()
