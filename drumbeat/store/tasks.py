"""Reads the reps' tasks: the queue, and one task with everything that is shown of it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign.model import Priority
from drumbeat.campaign.states import TaskStatus
from drumbeat.store.schema import enrollments, people, reps, tasks, texts, users

REPLY = "reply"
"""The kind of the task "answer the reply": it belongs to no step and comes first."""

OPEN = (TaskStatus.OPEN, TaskStatus.SCHEDULED)

QUEUE_ORDER = (
    case((tasks.c.kind == REPLY, 0), else_=1),
    case((tasks.c.priority == Priority.HIGH, 0), else_=1),
    tasks.c.due,
    func.coalesce(tasks.c.campaign, ""),
    func.coalesce(tasks.c.step, 0),
    tasks.c.opened_at,
    tasks.c.id,
)
"""Replies to answer, high priority, oldest due, campaign order (SPEC section 5)."""

_closer = reps.alias("closer")


def listed() -> Select[Any]:
    """Every task with its person's, rep's and workflow's columns that a list shows with it.

    `person` and `rep` are addresses; the zones are IANA names, None where none is known.
    """
    return (
        select(
            tasks,
            people.c.email.label("person"),
            people.c.fields.label("person_fields"),
            people.c.timezone.label("person_zone"),
            reps.c.email.label("rep"),
            reps.c.name.label("rep_name"),
            reps.c.timezone.label("rep_zone"),
            enrollments.c.workflow_id,
        )
        .join(people, people.c.id == tasks.c.person_id)
        .join(reps, reps.c.id == tasks.c.rep_id)
        .outerjoin(enrollments, enrollments.c.id == tasks.c.enrollment_id)
    )


def shown() -> Select[Any]:
    """Every task as `listed`, and what else is shown of a single one.

    With the enrollment's version, plan and rep (`sender_id`), who closed it (`closer`, an address)
    and the text that was written then.
    """
    return (
        listed()
        .add_columns(
            enrollments.c.version,
            enrollments.c.plan,
            enrollments.c.rep_id.label("sender_id"),
            func.coalesce(_closer.c.email, users.c.email).label("closer"),
            func.coalesce(_closer.c.name, users.c.name).label("closer_name"),
            texts.c.text,
        )
        .outerjoin(_closer, _closer.c.id == tasks.c.closed_by)
        .outerjoin(users, users.c.id == tasks.c.closed_by)
        .outerjoin(texts, texts.c.id == tasks.c.text_id)
    )


async def queue(
    tx: AsyncConnection,
    *conditions: ColumnElement[bool],
    with_closed: bool = False,
    limit: int | None = None,
    offset: int = 0,
) -> Sequence[Row[Any]]:
    """Tasks as `listed`, in the order of a rep's queue.

    Args:
        tx: A transaction.
        conditions: On the columns of `tasks`, `people`, `reps` and `enrollments`.
        with_closed: Also those that are over.
        limit: At most so many; None: all.
        offset: Without the first so many.
    """
    wanted = listed().where(*conditions).order_by(*QUEUE_ORDER).limit(limit).offset(offset)
    if not with_closed:
        wanted = wanted.where(tasks.c.status.in_(OPEN))
    found: Sequence[Row[Any]] = (await tx.execute(wanted)).all()
    return found


async def count(
    tx: AsyncConnection, *conditions: ColumnElement[bool], with_closed: bool = False
) -> int:
    """How many tasks `queue` would give without a limit."""
    wanted = listed().where(*conditions)
    if not with_closed:
        wanted = wanted.where(tasks.c.status.in_(OPEN))
    found = await tx.execute(select(func.count()).select_from(wanted.subquery()))
    return int(found.scalar_one())


async def find(tx: AsyncConnection, task_id: str) -> Row[Any] | None:
    """One task as `shown`, open or over; None: there is none of that id."""
    found = await tx.execute(shown().where(tasks.c.id == task_id))
    row: Row[Any] | None = found.one_or_none()
    return row


async def lock_open(tx: AsyncConnection, task_id: str) -> bool:
    """Whether a task is open; nobody else changes it until this write transaction ends."""
    wanted = select(tasks.c.id).where(and_(tasks.c.id == task_id, tasks.c.status.in_(OPEN)))
    return (await tx.execute(wanted.with_for_update())).first() is not None
