"""The tasks that fall due, as the Live Feed's second tab shows them."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign.model import Priority
from drumbeat.campaign.states import TaskStatus
from drumbeat.store.schema import campaigns, enrollments, people, tasks

MOST = 200


async def due_between(
    tx: AsyncConnection, own: ColumnElement[bool], rep_id: str, first: date, last: date
) -> Sequence[Row[Any]]:
    """A rep's open tasks that are due on these dates or before, oldest first."""
    wanted: Select[Any] = (
        select(
            tasks.c.id,
            tasks.c.kind,
            tasks.c.subject,
            tasks.c.due,
            tasks.c.priority,
            tasks.c.step,
            tasks.c.person_id,
            people.c.email,
            people.c.fields,
            enrollments.c.plan,
            campaigns.c.name.label("campaign_name"),
            (tasks.c.due < first).label("is_overdue"),
        )
        .join(people, people.c.id == tasks.c.person_id)
        .outerjoin(enrollments, enrollments.c.id == tasks.c.enrollment_id)
        .outerjoin(campaigns, campaigns.c.slug == tasks.c.campaign)
        .where(
            own,
            tasks.c.rep_id == rep_id,
            tasks.c.status.in_((TaskStatus.OPEN, TaskStatus.SCHEDULED)),
            tasks.c.due <= last,
        )
        .order_by((tasks.c.priority == Priority.HIGH).desc(), tasks.c.due, tasks.c.id)
        .limit(MOST)
    )
    rows: Sequence[Row[Any]] = (await tx.execute(wanted)).all()
    return rows
