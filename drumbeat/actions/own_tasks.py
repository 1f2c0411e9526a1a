"""Tasks without a step: a rep's own, and answers to replies. They live in the database alone."""

import secrets
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.actions.desk import refuse_if_over
from drumbeat.actions.errors import ActionError
from drumbeat.campaign.model import Priority
from drumbeat.campaign.record import What
from drumbeat.campaign.states import TaskStatus
from drumbeat.store import events
from drumbeat.store import tasks as queue
from drumbeat.store.schema import enrollments, reps, tasks

KINDS = ("call", "inmail", "custom", "email")


async def usual_rep(tx: AsyncConnection, person_id: str) -> Row[Any]:
    """The rep who wrote to a person last; where nobody has, the only rep there is.

    Raises:
        ActionError: It could be several.
    """
    last = (
        select(reps)
        .join(enrollments, enrollments.c.rep_id == reps.c.id)
        .where(enrollments.c.person_id == person_id)
        .order_by(enrollments.c.kickoff.desc(), enrollments.c.id)
        .limit(1)
    )
    rep = (await tx.execute(last)).one_or_none()
    if rep is not None:
        return rep
    every = (await tx.execute(select(reps).limit(2))).all()
    if len(every) != 1:
        raise ActionError("whose task it is cannot be told: say it with --as ADDRESS")
    return every[0]


async def insert_own(
    tx: AsyncConnection,
    *,
    person_id: str,
    rep_id: str,
    who: str,
    kind: str,
    subject: str,
    due: date,
    priority: Priority,
    notes: str | None,
    now: datetime,
    enrollment_id: str | None = None,
    campaign: str | None = None,
) -> str:
    """Put a task without a step into a rep's queue; gives its id.

    Args:
        tx: A write transaction.
        person_id: Whom it is about.
        rep_id: Whose it is.
        who: The id of the rep who adds it.
        kind: One of `KINDS`, or `store.tasks.REPLY`.
        subject: One line.
        due: A date where the rep is.
        priority: Normal or high.
        notes: What the rep is to know.
        now: UTC.
        enrollment_id: The enrollment to whose emails a reply came; it survives its end.
        campaign: That enrollment's.
    """
    task_id = f"t{secrets.token_hex(6)}"
    await tx.execute(
        insert(tasks).values(
            id=task_id,
            enrollment_id=enrollment_id,
            person_id=person_id,
            campaign=campaign,
            step=None,
            kind=kind,
            subject=subject,
            rep_id=rep_id,
            due=due,
            priority=priority,
            notes=notes,
            status=TaskStatus.OPEN,
            opened_at=now,
        )
    )
    task = await queue.find(tx, task_id)
    assert task is not None
    await _event(tx, task, What.TASK_OPENED, who, now, {})
    return task_id


async def change(
    tx: AsyncConnection,
    task: Row[Any],
    what: What,
    who: str,
    now: datetime,
    values: Mapping[str, Any],
    detail: Mapping[str, str],
) -> None:
    """Change an open task.

    Args:
        tx: A write transaction.
        task: The task.
        what: What happens to it, for the timeline.
        who: The id of the rep who does it.
        now: UTC.
        values: Column -> its new value.
        detail: What the timeline says of it.

    Raises:
        ActionError: It is over; who was faster is named.
    """
    if not await queue.lock_open(tx, task.id):
        now_over = await queue.find(tx, task.id)
        assert now_over is not None
        await refuse_if_over(tx, now_over)
    await tx.execute(update(tasks).where(tasks.c.id == task.id).values(dict(values)))
    await _event(tx, task, what, who, now, detail)


async def close(
    tx: AsyncConnection,
    task: Row[Any],
    status: TaskStatus,
    who: str,
    now: datetime,
    outcome: str | None,
    text_id: str | None,
) -> None:
    """Complete or skip a task.

    Args:
        tx: A write transaction.
        task: The task.
        status: Completed or skipped.
        who: The id of the rep who does it.
        now: UTC.
        outcome: Of a call.
        text_id: The id of the rep's note, or reason.

    Raises:
        ActionError: It is over; who was faster is named.
    """
    what = What.TASK_COMPLETED if status is TaskStatus.COMPLETED else What.TASK_SKIPPED
    detail = {"outcome": outcome, "text": text_id}
    values = {
        "status": status,
        "closed_at": now,
        "closed_by": who,
        "outcome": outcome,
        "text_id": text_id,
    }
    filled = {name: value for name, value in detail.items() if value is not None}
    await change(tx, task, what, who, now, values, filled)


async def _event(
    tx: AsyncConnection,
    task: Row[Any],
    what: What,
    who: str,
    now: datetime,
    detail: Mapping[str, str],
) -> None:
    """Write it into the person's timeline; the workflow's own events have numbers for keys."""
    await events.append(
        tx,
        enrollment_id=task.enrollment_id,
        key=f"{task.id}/{secrets.token_hex(4)}",
        person_id=task.person_id,
        campaign=task.campaign,
        at=now,
        what=what,
        who=who,
        detail={"task": task.id, **detail},
    )
