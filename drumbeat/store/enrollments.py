"""Enrollments: found, listed, written in bulk, and known to have been started."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign.record import What
from drumbeat.campaign.states import State, Why, WhyCode
from drumbeat.store import ledger
from drumbeat.store.engine import inserting
from drumbeat.store.schema import drafts, enrollments, events, messages, outbox

START = "start"
"""The outbox's kind of the rows that have a workflow started."""
START_AFTER = timedelta(seconds=60)
"""How long a worker leaves the start of a workflow to whoever enrolls."""
STARTED = "delivered"
"""The outbox's answer for a workflow that was started."""


@dataclass(frozen=True, slots=True)
class New:
    """An enrollment that is to be written."""

    id: str
    workflow_id: str
    campaign: str
    """The slug."""
    version: str
    person_id: str
    rep_id: str
    rep_email: str
    round: int
    """1, and one more for every re-enrollment."""
    plan: str
    """`calendar.Plan` as JSON."""
    standing: str
    """`calendar.Standing` as JSON."""
    kickoff: datetime
    """UTC."""
    due_at: datetime
    """When the first step is due, UTC."""
    first_email_due: datetime | None
    """When the first step's email is due, UTC; None: the first step is no automatic email."""
    starts_with_email: bool
    """Whether the first step is an email, automatic or not."""
    who: str
    """The id of the rep who enrolls."""


async def find(tx: AsyncConnection, enrollment_id: str) -> Row[Any] | None:
    """An enrollment's row by its id."""
    wanted = select(enrollments).where(enrollments.c.id == enrollment_id)
    return (await tx.execute(wanted)).one_or_none()


async def of_person(tx: AsyncConnection, person_id: str) -> Sequence[Row[Any]]:
    """All enrollments of a person, oldest first."""
    return await of_people(tx, [person_id])


async def of_people(tx: AsyncConnection, person_ids: Collection[str]) -> Sequence[Row[Any]]:
    """All enrollments of some hundreds of people, oldest first."""
    wanted = (
        select(enrollments)
        .where(enrollments.c.person_id.in_(person_ids))
        .order_by(enrollments.c.kickoff, enrollments.c.round)
    )
    return (await tx.execute(wanted)).all()


async def running_of_person(tx: AsyncConnection, person_id: str) -> Sequence[Row[Any]]:
    """The enrollments of a person that have not ended, oldest first."""
    return [row for row in await of_person(tx, person_id) if row.ended_at is None]


async def insert_all(tx: AsyncConnection, new: Sequence[New], now: datetime) -> set[str]:
    """Write enrollments with everything that belongs to them.

    That is: the row of a first step that is an email, the event, and the order to start the
    workflow, which a worker carries out after a minute if nobody has done so before.

    Args:
        tx: A write transaction.
        new: Some hundreds at most, of different people.
        now: UTC.

    Returns:
        The ids of those that were written: where somebody else has enrolled the same person
        meanwhile, nothing is.
    """
    if not new:
        return set()
    rows = sorted(new, key=lambda one: one.person_id)  # in the same order for everybody
    statement = inserting(tx, enrollments).values([_row(one) for one in rows])
    written = await tx.execute(statement.on_conflict_do_nothing().returning(enrollments.c.id))
    ids = set(written.scalars())
    rows = [one for one in rows if one.id in ids]
    if not rows:
        return ids
    first = [_first_message(one, now) for one in rows if one.starts_with_email]
    if first:
        await tx.execute(insert(messages), first)
    await tx.execute(insert(events), [_event(one, now) for one in rows])
    await tx.execute(insert(outbox), [_order(one, now) for one in rows])
    return ids


def _row(new: New) -> dict[str, Any]:
    return {
        "id": new.id,
        "workflow_id": new.workflow_id,
        "campaign": new.campaign,
        "version": new.version,
        "person_id": new.person_id,
        "rep_id": new.rep_id,
        "round": new.round,
        "plan": new.plan,
        "standing": new.standing,
        "kickoff": new.kickoff,
        "state": State.SLEEPING,
        "step": 1,
        "why": Why(code=WhyCode.TIME, until=new.due_at).model_dump(mode="json"),
        "next_at": new.due_at,
    }


def _first_message(new: New, now: datetime) -> dict[str, Any]:
    return ledger.message_values(
        enrollment_id=new.id,
        step=1,
        rep_id=new.rep_id,
        rep_email=new.rep_email,
        is_first=True,
        due_at=new.first_email_due,
        now=now,
    )


def _event(new: New, now: datetime) -> dict[str, Any]:
    return {
        "enrollment_id": new.id,
        "key": What.ENROLLED.value,
        "person_id": new.person_id,
        "campaign": new.campaign,
        "at": now,
        "what": What.ENROLLED,
        "who": new.who,
        "detail": {},
    }


def _order(new: New, now: datetime) -> dict[str, Any]:
    return {
        "key": f"{START}/{new.id}",
        "enrollment_id": new.id,
        "kind": START,
        "payload": {},
        "not_before": now + START_AFTER,
    }


async def mark_started(tx: AsyncConnection, ids: Collection[str], now: datetime) -> None:
    """Temporal has confirmed the workflows: nobody needs to start them any more."""
    if not ids:
        return
    await tx.execute(
        update(enrollments)
        .where(enrollments.c.id.in_(ids), enrollments.c.started_at.is_(None))
        .values(started_at=now)
    )
    await tx.execute(
        update(outbox)
        .where(outbox.c.key.in_([f"{START}/{one}" for one in ids]), outbox.c.delivered_at.is_(None))
        .values(delivered_at=now, answer=STARTED)
    )


async def withdraw(tx: AsyncConnection, enrollment_id: str) -> bool:
    """Take back an enrollment whose workflow could never be started; False where it was.

    Nothing has left and no task was opened: as if nobody had enrolled the person.
    """
    row = await find(tx, enrollment_id)
    if row is None or row.started_at is not None:
        return False
    for table in (outbox, events, drafts, messages):
        await tx.execute(delete(table).where(table.c.enrollment_id == enrollment_id))
    await tx.execute(delete(enrollments).where(enrollments.c.id == enrollment_id))
    return True
