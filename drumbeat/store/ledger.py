"""The send ledger: one row an email, and the marks that count against a mailbox's limits.

Only the send activity changes the state of an email that is being sent. Every function works inside
the caller's transaction; `attempt` tells an attempt from one that took its place meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningDelete

from drumbeat.campaign.calendar import Plan
from drumbeat.campaign.states import MessageState, State, Why
from drumbeat.campaign.threads import message_id
from drumbeat.store.engine import insert_new
from drumbeat.store.errors import RowMissing
from drumbeat.store.places import freed
from drumbeat.store.schema import Moment, enrollments, marks, messages, reps

Message = Row[Any]

# What follows is executed for every send, and made once: SQLAlchemy takes longer to make a
# statement than SQLite to carry it out (docs/measured.md).
_ENROLLMENT = (
    select(enrollments)
    .where(enrollments.c.id == bindparam("enrollment"))
    .with_for_update(key_share=True)
)
_THIS_MESSAGE = (
    messages.c.enrollment_id == bindparam("enrollment"),
    messages.c.step == bindparam("number"),
)
_MESSAGE = select(messages).where(*_THIS_MESSAGE).with_for_update(key_share=True)
_CHANGE = update(messages).where(*_THIS_MESSAGE)
_HAND_OVER = _CHANGE.where(
    messages.c.state == MessageState.SENDING,
    messages.c.attempt == bindparam("own_attempt"),
    messages.c.handing_over_at.is_(None),
)
_FALLEN_DUE = select(func.count()).where(
    enrollments.c.state == State.SLEEPING,
    enrollments.c.next_at <= bindparam("now", type_=Moment()),
)
_ADDRESS = select(reps.c.email).where(reps.c.id == bindparam("rep"))
_MARK = insert(marks)
_OWN_PLACE = (
    marks.c.enrollment_id == bindparam("enrollment"),
    marks.c.step == bindparam("number"),
    marks.c.handed_over.is_(False),
)
_PLACE = select(marks.c.at).where(*_OWN_PLACE)
_GIVE_BACK = delete(marks).where(*_OWN_PLACE).returning(marks.c.mailbox, marks.c.at)
_GIVE_MISSED_BACK = (
    delete(marks)
    .where(
        marks.c.mailbox == bindparam("of"),
        marks.c.handed_over.is_(False),
        marks.c.at < bindparam("before", type_=Moment()),
    )
    .returning(marks.c.mailbox, marks.c.at)
)
_LOCK = select(reps.c.id).where(reps.c.id == bindparam("rep")).with_for_update(key_share=True)


async def enrollment(tx: AsyncConnection, enrollment_id: str) -> Row[Any]:
    """The enrollment's row, locked where the database locks rows.

    Raises:
        RowMissing: There is none.
    """
    row = (await tx.execute(_ENROLLMENT, {"enrollment": enrollment_id})).one_or_none()
    if row is None:
        raise RowMissing(f"the tables know no enrollment {enrollment_id}")
    return row


async def schedule(
    tx: AsyncConnection, row: Row[Any], step: int, due_at: datetime | None, now: datetime
) -> None:
    """Make sure that an email has its row, and change its time while it waits.

    Args:
        tx: A write transaction.
        row: The enrollment's row.
        step: The email's step.
        due_at: When it is due, UTC; None: when its rep sends it.
        now: UTC.
    """
    values = await new_message(tx, row, step, due_at, now)
    if not await insert_new(tx, messages, values) and due_at is not None:
        await tx.execute(
            update(messages)
            .where(
                messages.c.enrollment_id == row.id,
                messages.c.step == step,
                messages.c.state == MessageState.SCHEDULED,
            )
            .values(due_at=due_at)
        )


async def new_message(
    tx: AsyncConnection, row: Row[Any], step: int, due_at: datetime | None, now: datetime
) -> dict[str, Any]:
    """The values of a scheduled email's row."""
    found = await tx.execute(_ADDRESS, {"rep": row.rep_id})
    plan = Plan.model_validate_json(row.plan)
    return message_values(
        enrollment_id=row.id,
        step=step,
        rep_id=row.rep_id,
        rep_email=found.scalar_one(),
        is_first=step == first_email(plan),
        due_at=due_at,
        now=now,
    )


def first_email(plan: Plan) -> int | None:
    """The lowest-numbered email step: what `first_emails_per_day` counts."""
    return next((step.number for step in plan.steps if step.kind == "email"), None)


def message_values(
    *,
    enrollment_id: str,
    step: int,
    rep_id: str,
    rep_email: str,
    is_first: bool,
    due_at: datetime | None,
    now: datetime,
) -> dict[str, Any]:
    """The values of a scheduled email's row, from what is known without the database."""
    return {
        "enrollment_id": enrollment_id,
        "step": step,
        "mailbox": rep_id,
        "state": MessageState.SCHEDULED,
        "due_at": due_at,
        "first": is_first,
        "message_id": message_id(enrollment_id, step, rep_email.rpartition("@")[2]),
        "updated_at": now,
    }


async def message(tx: AsyncConnection, enrollment_id: str, step: int) -> Message | None:
    """An email's row, locked where the database locks rows."""
    found = await tx.execute(_MESSAGE, {"enrollment": enrollment_id, "number": step})
    return found.one_or_none()


async def earlier(tx: AsyncConnection, enrollment_id: str, step: int) -> Sequence[Message]:
    """The enrollment's emails before a step, in order."""
    found = await tx.execute(
        select(messages)
        .where(messages.c.enrollment_id == enrollment_id, messages.c.step < step)
        .order_by(messages.c.step)
    )
    return found.all()


async def change(
    tx: AsyncConnection, row: Message, now: datetime, state: MessageState, **values: Any
) -> None:
    """Put an email into a state; a reason goes with `why`, none clears it."""
    why: Why | None = values.pop("why", None)
    await tx.execute(
        _CHANGE,
        {
            "enrollment": row.enrollment_id,
            "number": row.step,
            "state": state,
            "why": why.model_dump(mode="json") if why else None,
            "updated_at": now,
            **values,
        },
    )


async def hand_over(tx: AsyncConnection, row: Message, attempt: int, now: datetime) -> bool:
    """Set the mark "handing over", directly before DATA.

    Returns:
        False where another attempt has superseded this one, or the mark is set already.
    """
    own = {"enrollment": row.enrollment_id, "number": row.step, "own_attempt": attempt}
    marked = await tx.execute(_HAND_OVER, {**own, "handing_over_at": now})
    if marked.rowcount != 1:
        return False
    # A mark at this instant counts for all that its place did, from now on: nothing is freed.
    await give_back(tx, row, now)
    await tx.execute(_MARK, _mark(row, now, attempt, handed_over=True))
    return True


async def count_sent(tx: AsyncConnection, row: Message, at: datetime) -> None:
    """Set the mark of an email that was handed over at an instant (UTC), where it was lost."""
    await tx.execute(_MARK, _mark(row, at, row.attempt, handed_over=True))


async def take_place(tx: AsyncConnection, row: Message, at: datetime) -> None:
    """Note that the mailbox is taken for this email at an instant (UTC)."""
    await give_back(tx, row)
    await tx.execute(_MARK, _mark(row, at, row.attempt, handed_over=False))


async def give_back(tx: AsyncConnection, row: Message, but_until: datetime | None = None) -> None:
    """Free the place that an email has not used.

    Args:
        tx: A write transaction.
        row: The email.
        but_until: A mark takes over what the place counted for, unless that was later than this.
    """
    values = {"enrollment": row.enrollment_id, "number": row.step}
    await _free(tx, _GIVE_BACK, values, but_until)


async def give_all_back(tx: AsyncConnection, enrollment_id: str, step: int | None) -> None:
    """Free the places that an enrollment's emails have not used, or those of one of its steps."""
    gone = delete(marks).where(
        marks.c.enrollment_id == enrollment_id, marks.c.handed_over.is_(False)
    )
    if step is not None:
        gone = gone.where(marks.c.step == step)
    await _free(tx, gone.returning(marks.c.mailbox, marks.c.at), {}, None)


async def give_missed_back(tx: AsyncConnection, mailbox: str, before: datetime) -> None:
    """Free the places before an instant (UTC): nobody has used them, and nobody may any more."""
    await _free(tx, _GIVE_MISSED_BACK, {"of": mailbox, "before": before}, None)


async def _free(
    tx: AsyncConnection,
    gone: ReturningDelete[Any],
    values: dict[str, Any],
    but_until: datetime | None,
) -> None:
    places = await tx.execute(gone, values)
    await freed(
        tx, [(row.mailbox, row.at) for row in places if but_until is None or row.at > but_until]
    )


async def fallen_due(tx: AsyncConnection, now: datetime) -> int:
    """How many enrollments, of all mailboxes, have a step that is due and has not come up yet.

    Held and blocked ones are none of them: they wait for somebody.
    """
    found: int = (await tx.execute(_FALLEN_DUE, {"now": now})).scalar_one()
    return found


async def is_in_doubt(tx: AsyncConnection, enrollment_id: str, step: int, attempt: int) -> bool:
    """Whether nobody knows what became of that attempt of an email, and none has come after it."""
    wanted = select(messages.c.step).where(
        messages.c.enrollment_id == enrollment_id,
        messages.c.step == step,
        messages.c.attempt == attempt,
        messages.c.state == MessageState.IN_DOUBT,
    )
    return (await tx.execute(wanted)).first() is not None


async def own_place(tx: AsyncConnection, row: Message) -> datetime | None:
    """The instant (UTC) that is taken for an email."""
    values = {"enrollment": row.enrollment_id, "number": row.step}
    return (await tx.execute(_PLACE, values)).scalars().first()


@dataclass(frozen=True, slots=True)
class Used:
    """What a mailbox has handed over, and what waits for a place that it has."""

    handed_over: int
    places: int


async def used_since(tx: AsyncConnection, mailbox: str, since: datetime) -> Used:
    """How many emails were handed over since an instant (UTC), and how many places are taken."""
    found = await tx.execute(
        select(marks.c.handed_over, func.count())
        .where(marks.c.mailbox == mailbox, marks.c.at > since)
        .group_by(marks.c.handed_over)
    )
    counts = {bool(row[0]): row[1] for row in found}
    return Used(counts.get(True, 0), counts.get(False, 0))


async def lock_mailbox(tx: AsyncConnection, mailbox: str) -> None:
    """Let one transaction at a time look for a place in a mailbox (SQLite: any writer)."""
    if tx.dialect.name != "sqlite":
        await tx.execute(_LOCK, {"rep": mailbox})


async def forget_old_marks(tx: AsyncConnection, now: datetime, span: timedelta) -> None:
    """Delete what no limit can count any more."""
    await tx.execute(delete(marks).where(marks.c.at < now - span))


def _mark(row: Message, at: datetime, attempt: int, *, handed_over: bool) -> dict[str, Any]:
    return {
        "mailbox": row.mailbox,
        "at": at,
        "handed_over": handed_over,
        "first": row.first,
        "enrollment_id": row.enrollment_id,
        "step": row.step,
        "attempt": attempt,
    }
