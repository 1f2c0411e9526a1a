"""Bring the tables up to what an enrollment's workflow says: its standing, its events, its tasks.

Written from activities only. Each entry is applied exactly once, however often it is recorded, and
an older record never overwrites a newer one.
"""

from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign.calendar import Plan
from drumbeat.campaign.record import Entry, Record, Shown, What
from drumbeat.campaign.states import HoldKind, MessageState, State, TaskStatus, Why, WhyCode
from drumbeat.store import events, holds, ledger, outbox, restoring, suppressions
from drumbeat.store.schema import enrollments, messages, people, tasks, texts
from drumbeat.store.schema import events as event_rows

_OPEN = (TaskStatus.OPEN, TaskStatus.SCHEDULED)
# Made once, as it follows every send: see docs/measured.md.
_STAND = update(enrollments).where(
    enrollments.c.id == bindparam("enrollment"), enrollments.c.seq <= bindparam("said")
)
_WAITING = (MessageState.SCHEDULED, MessageState.BLOCKED, MessageState.FAILED)

_AFRESH: dict[str, Any] = {"tries": 0, "tried_for": 0}
"""A person has looked after the email: it has its five tries and its 24 hours again."""

Enrollment = Row[Any]


async def apply(tx: AsyncConnection, record: Record, now: datetime) -> Enrollment:
    """Apply a record and give the enrollment's row as it was before.

    Where the tables have lost what the workflow told before, all mailboxes are held.

    Raises:
        RowMissing: The tables know no such enrollment: the database is older than the workflow.
    """
    row = await ledger.enrollment(tx, record.enrollment_id)
    for entry in record.entries:
        await add_event(tx, row, entry, now)
    if row.seq < _known_before(record) and await restoring.is_behind(tx, row.id, record.shown.step):
        await restoring.hold_all(tx, now)
    if row.seq < record.seq:
        await stand(tx, row, record.seq, record.shown, record.standing.model_dump_json(), now)
    return row


def _known_before(record: Record) -> int:
    """The number up to which the tables should know all before they read the record.

    Some numbers stand for nothing: that a row is behind them is a hint, no proof.
    """
    return record.entries[0].seq - 1 if record.entries else record.seq


async def add_event(tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime) -> None:
    """Write what happened into the timeline; its effect on other rows comes with it, once."""
    is_new = await events.append(
        tx,
        enrollment_id=row.id,
        key=str(entry.seq),
        person_id=row.person_id,
        campaign=row.campaign,
        at=entry.at,
        what=entry.what,
        step=entry.step,
        who=entry.who,
        detail=dict(entry.detail),
    )
    effect = _EFFECTS.get(entry.what)
    if is_new and effect is not None:
        await effect(tx, row, entry, now)


async def stand(
    tx: AsyncConnection,
    row: Enrollment,
    seq: int,
    shown: Shown,
    standing: str,
    now: datetime,
) -> None:
    """Write where the enrollment stands, and the row of the email that comes next.

    What the workflow said later is left as it is.
    """
    values: dict[str, Any] = {
        "seq": seq,
        "state": shown.state,
        "outcome": shown.outcome,
        "step": shown.step,
        "why": shown.why.model_dump(mode="json") if shown.why else None,
        "next_at": shown.next_at,
        "standing": standing,
    }
    stood = await tx.execute(_STAND, {"enrollment": row.id, "said": seq, **values})
    if stood.rowcount != 1:
        return
    if shown.state is State.SLEEPING and shown.step is not None:
        planned = Plan.model_validate_json(row.plan).step(shown.step)
        if planned.is_automatic:
            await ledger.schedule(tx, row, planned.number, shown.next_at, now)


# What each entry means for the other tables


async def _close_task(
    tx: AsyncConnection, row: Enrollment, entry: Entry, status: TaskStatus
) -> None:
    values = {
        "status": status,
        "closed_at": entry.at,
        "closed_by": entry.who,
        "outcome": entry.detail.get("outcome"),
        "text_id": entry.detail.get("text"),
        "send_at": None,
    }
    await _change_task(tx, row, entry, values)


async def _change_task(
    tx: AsyncConnection, row: Enrollment, entry: Entry, values: dict[str, Any]
) -> None:
    await tx.execute(
        update(tasks)
        .where(
            tasks.c.enrollment_id == row.id,
            tasks.c.step == entry.step,
            tasks.c.status.in_(_OPEN),
        )
        .values(values)
    )


async def _change_message(
    tx: AsyncConnection,
    row: Enrollment,
    entry: Entry,
    now: datetime,
    values: dict[str, Any],
    *states: MessageState,
) -> None:
    await tx.execute(
        update(messages)
        .where(
            messages.c.enrollment_id == row.id,
            messages.c.step == entry.step,
            messages.c.state.in_(states or _WAITING),
        )
        .values(values | {"updated_at": now})
    )


async def _task_completed(
    tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime
) -> None:
    await _close_task(tx, row, entry, TaskStatus.COMPLETED)


async def _sent(tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime) -> None:
    """The task of a rep's email is over when that is sent, by whoever asked for it last."""
    asked = (
        select(event_rows.c.who)
        .where(
            event_rows.c.enrollment_id == row.id,
            event_rows.c.step == entry.step,
            event_rows.c.what.in_((What.SEND_ASKED, What.TASK_SCHEDULED)),
        )
        .order_by(event_rows.c.id.desc())
        .limit(1)
    )
    values = {
        "status": TaskStatus.COMPLETED,
        "closed_at": entry.at,
        "closed_by": asked.scalar_subquery(),
        "send_at": None,
        "trouble": None,
    }
    await _change_task(tx, row, entry, values)


async def _sent_elsewhere(
    tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime
) -> None:
    await _close_task(tx, row, entry, TaskStatus.COMPLETED)
    values = {"state": MessageState.SENT, "elsewhere": True, "sent_at": entry.at, "why": None}
    states = (*_WAITING, MessageState.IN_DOUBT)
    await _change_message(tx, row, entry, now, values, *states)


async def _skipped(tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime) -> None:
    await _close_task(tx, row, entry, TaskStatus.SKIPPED)
    code = WhyCode(entry.detail.get("code", WhyCode.SKIPPED))
    step = entry.step
    if step is not None and Plan.model_validate_json(row.plan).step(step).kind == "email":
        await ledger.schedule(tx, row, step, None, now)
    values = {"state": MessageState.CANCELLED, "why": Why(code=code).model_dump(mode="json")}
    await _change_message(tx, row, entry, now, values)
    await ledger.give_all_back(tx, row.id, entry.step)


async def _snoozed(tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime) -> None:
    await _change_task(tx, row, entry, {"due": date.fromisoformat(entry.detail["due"])})


async def _task_edited(tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime) -> None:
    detail = entry.detail
    values: dict[str, Any] = {"trouble": None}
    if "rep" in detail:
        values["rep_id"] = detail["rep"]
    if "due" in detail:
        values["due"] = date.fromisoformat(detail["due"])
    if "priority" in detail:
        values["priority"] = detail["priority"]
    if "draft" in detail:
        values["draft_id"] = detail["draft"]
    for name in ("subject", "notes"):
        if name in detail:
            found = await tx.execute(select(texts.c.text).where(texts.c.id == detail[name]))
            text = found.scalar_one_or_none()
            # An id that a stranger made up must not keep the workflow telling this for good.
            if text is not None:
                values[name] = text
    await _change_task(tx, row, entry, values)


async def _send_asked(tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime) -> None:
    at = entry.detail.get("at")
    # Sending now takes the place of a moment that was set before.
    values: dict[str, Any] = {"trouble": None, "status": TaskStatus.OPEN, "send_at": None}
    if at is not None:
        values |= {"status": TaskStatus.SCHEDULED, "send_at": datetime.fromisoformat(at)}
    if "draft" in entry.detail:
        values["draft_id"] = entry.detail["draft"]
    await _change_task(tx, row, entry, values)
    due = datetime.fromisoformat(at) if at is not None else entry.at
    state = {"state": MessageState.SCHEDULED, "why": None, "due_at": due} | _AFRESH
    await _change_message(tx, row, entry, now, state)


async def _unscheduled(tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime) -> None:
    await _change_task(tx, row, entry, {"status": TaskStatus.OPEN, "send_at": None})
    await _change_message(tx, row, entry, now, {"due_at": None})


async def _edited(tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime) -> None:
    values = {"draft_id": entry.detail["draft"], "state": MessageState.SCHEDULED, "why": None}
    values |= _AFRESH
    await _change_message(tx, row, entry, now, values)


async def _moved(tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime) -> None:
    values = {"due_at": datetime.fromisoformat(entry.detail["at"])}
    await _change_message(tx, row, entry, now, values)
    await ledger.give_all_back(tx, row.id, entry.step)


async def _goes_on(tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime) -> None:
    values = {"state": MessageState.SCHEDULED, "why": None} | _AFRESH
    states = (MessageState.BLOCKED, MessageState.FAILED)
    await _change_message(tx, row, entry, now, values, *states)


async def _resolved(tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime) -> None:
    if entry.detail["sent"] == "yes":
        at = datetime.fromisoformat(entry.detail["at"])
        values: dict[str, Any] = {"state": MessageState.SENT, "sent_at": at, "why": None}
        await _close_task(tx, row, entry, TaskStatus.COMPLETED)
    else:
        values = {"state": MessageState.SCHEDULED, "why": None, "handing_over_at": None}
    await _change_message(tx, row, entry, now, values, MessageState.IN_DOUBT)


async def _held(tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime) -> None:
    """A hold that came as a plain signal gets a row, so that it can be found and released."""
    if await holds.find(tx, entry.detail["hold"]) is None:
        until = entry.detail.get("until")
        await holds.insert(
            tx,
            hold_id=entry.detail["hold"],
            kind=HoldKind.PERSON,
            target=row.id,
            until=datetime.fromisoformat(until) if until else None,
            reason=None,
            who=entry.who,
            now=entry.at,
        )


async def _released(tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime) -> None:
    """Only this enrollment's own hold is lifted with it: others may hang on a wider one."""
    hold = await holds.find(tx, entry.detail["hold"])
    if hold is not None and hold.target == row.id and hold.released_at is None:
        await holds.mark_released(tx, hold.id, entry.who, entry.at)


async def _replied(tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime) -> None:
    await tx.execute(
        update(enrollments).where(enrollments.c.id == row.id).values(replied_at=entry.at)
    )


async def _bounced(tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime) -> None:
    is_hard = entry.detail["hard"] == "yes"
    values = {"bounced": "hard" if is_hard else "soft"}
    await _change_message(tx, row, entry, now, values, MessageState.SENT)
    if is_hard:
        await tx.execute(
            update(enrollments).where(enrollments.c.id == row.id).values(bounced_at=entry.at)
        )


async def _not_sent(tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime) -> None:
    """An address that the mail server does not know keeps the person out of other campaigns."""
    if entry.detail.get("code") == WhyCode.BOUNCED:
        await tx.execute(
            update(enrollments).where(enrollments.c.id == row.id).values(bounced_at=entry.at)
        )


async def _unsubscribed(tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime) -> None:
    """Who says so to one campaign has said so to all of them."""
    found = await tx.execute(select(people.c.email).where(people.c.id == row.person_id))
    await suppressions.add_wish(tx, found.scalar_one(), None, entry.who, entry.at)
    others = (enrollments.c.person_id == row.person_id) & (enrollments.c.id != row.id)
    await outbox.put_for_running(
        tx,
        others & outbox.never_told("unsubscribed"),
        kind="unsubscribed",
        key=f"unsubscribed/{row.id}",
        payload={},
        now=now,
    )


async def _ended(tx: AsyncConnection, row: Enrollment, entry: Entry, now: datetime) -> None:
    await tx.execute(
        update(tasks)
        .where(tasks.c.enrollment_id == row.id, tasks.c.status.in_(_OPEN))
        .values(status=TaskStatus.CANCELLED, closed_at=entry.at, closed_by=entry.who)
    )
    why = Why(code=WhyCode.ENDED, detail=entry.detail["outcome"]).model_dump(mode="json")
    await tx.execute(
        update(messages)
        .where(messages.c.enrollment_id == row.id, messages.c.state.in_(_WAITING))
        .values(state=MessageState.CANCELLED, why=why, updated_at=now)
    )
    await ledger.give_all_back(tx, row.id, None)
    await tx.execute(
        update(enrollments).where(enrollments.c.id == row.id).values(ended_at=entry.at)
    )


_Effect = Callable[[AsyncConnection, Enrollment, Entry, datetime], Awaitable[None]]

_EFFECTS: dict[What, _Effect] = {
    What.SENT: _sent,
    What.TASK_COMPLETED: _task_completed,
    What.SENT_ELSEWHERE: _sent_elsewhere,
    What.TASK_SKIPPED: _skipped,
    What.STEP_SKIPPED: _skipped,
    What.TASK_SNOOZED: _snoozed,
    What.TASK_EDITED: _task_edited,
    What.TASK_SCHEDULED: _send_asked,
    What.SEND_ASKED: _send_asked,
    What.TASK_UNSCHEDULED: _unscheduled,
    What.EMAIL_EDITED: _edited,
    What.EMAIL_MOVED: _moved,
    What.RETRIED: _goes_on,
    What.MENDED: _goes_on,
    What.RESOLVED: _resolved,
    What.HELD: _held,
    What.RELEASED: _released,
    What.REPLIED: _replied,
    What.BOUNCED: _bounced,
    What.NOT_SENT: _not_sent,
    What.UNSUBSCRIBED: _unsubscribed,
    What.ENDED: _ended,
}
