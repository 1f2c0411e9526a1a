"""The Live Feed: what happened, newest first, and what has happened since."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign.record import What
from drumbeat.store.schema import campaigns, enrollments, events, people, reps

GROUPS: dict[str, tuple[What, ...]] = {
    "replies": (What.REPLIED,),
    "trouble": (
        What.BLOCKED,
        What.FAILED,
        What.IN_DOUBT,
        What.NOT_SENT,
        What.BOUNCED,
        What.UNSUBSCRIBED,
        What.HELD,
    ),
    "tasks": (
        What.TASK_OPENED,
        What.TASK_COMPLETED,
        What.TASK_SKIPPED,
        What.TASK_SNOOZED,
        What.TASK_SCHEDULED,
    ),
    "emails": (What.SENT, What.SENT_ELSEWHERE),
}
"""The filters of the feed, by the word in the address."""

PAGE = 50
HIDDEN = (What.REFUSED,)
"""Wrong messages are for ops, on the person's page."""


def _wanted() -> Select[Any]:
    actor = reps.alias("actor")
    return (
        select(
            events.c.id,
            events.c.at,
            events.c.what,
            events.c.step,
            events.c.who,
            events.c.detail,
            events.c.person_id,
            events.c.campaign,
            events.c.enrollment_id,
            people.c.fields,
            people.c.email,
            campaigns.c.name.label("campaign_name"),
            enrollments.c.rep_id,
            enrollments.c.plan,
            actor.c.name.label("actor"),
        )
        .join(people, people.c.id == events.c.person_id)
        .outerjoin(enrollments, enrollments.c.id == events.c.enrollment_id)
        .outerjoin(campaigns, campaigns.c.slug == events.c.campaign)
        .outerjoin(actor, actor.c.id == events.c.who)
        .where(events.c.what.not_in(HIDDEN))
    )


async def page(
    tx: AsyncConnection,
    own: ColumnElement[bool],
    *,
    group: str | None = None,
    before: int | None = None,
    limit: int = PAGE,
) -> Sequence[Row[Any]]:
    """Events that a user may see, newest first.

    Args:
        tx: Any transaction.
        own: Which rows of `events` the user may see.
        group: One of `GROUPS`; None: everything.
        before: Only events with a lower number: the next page.
        limit: At most so many.
    """
    # First which they are; then what is shown of these few.
    keys = select(events.c.id).where(own, events.c.what.not_in(HIDDEN))
    if group in GROUPS:
        keys = keys.where(events.c.what.in_(GROUPS[group]))
    if before is not None:
        keys = keys.where(events.c.id < before)
    found = keys.order_by(events.c.id.desc()).limit(limit).subquery()
    wanted = _wanted().where(events.c.id.in_(select(found.c.id))).order_by(events.c.id.desc())
    rows: Sequence[Row[Any]] = (await tx.execute(wanted)).all()
    return rows


async def since(
    tx: AsyncConnection, after: int, skip: Collection[int] = (), limit: int = 500
) -> Sequence[Row[Any]]:
    """Events of everybody with a higher number, oldest first, but for those that are known."""
    wanted = _wanted().where(events.c.id > after)
    if skip:
        wanted = wanted.where(events.c.id.not_in(skip))
    rows: Sequence[Row[Any]] = (await tx.execute(wanted.order_by(events.c.id).limit(limit))).all()
    return rows


async def newest(tx: AsyncConnection) -> int:
    """The highest number so far; 0: nothing has happened yet."""
    found = await tx.execute(select(events.c.id).order_by(events.c.id.desc()).limit(1))
    return found.scalar_one_or_none() or 0
