"""Bring tables and workflows together again, where a backup or a lost server has parted them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.client import Client

from activities.outcomes import OpenTask
from activities.tasks import Tasks
from drumbeat.actions.starting import Start, start_of, start_workflow
from drumbeat.campaign.calendar import Over, Plan, Standing
from drumbeat.campaign.record import Entry, Record, Shown, What
from drumbeat.campaign.states import MessageState, Outcome, State, TaskStatus
from drumbeat.store import enrollments as enrollments_table
from drumbeat.store import ledger, outbox, recording
from drumbeat.store.engine import Store
from drumbeat.store.enrollments import START
from drumbeat.store.schema import enrollments, events, marks, messages, tasks
from drumbeat.store.schema import outbox as outbox_rows
from workflows.enrollment import Enrollment
from workflows.messages import CampaignInput, Progress

COUNTED_FOR = timedelta(days=2)
"""No limit counts what was sent before."""

# The workflow is right: the tables take over what it says


async def take_over(store: Store, row: Row[Any], progress: Progress) -> bool:
    """Bring an enrollment's rows up to what its workflow says.

    Events that were lost come back with their effects, such as suppressions; emails that were sent
    count as sent, and an open task is in its rep's queue again.

    Args:
        store: The database.
        row: The enrollment's row with which the progress was compared.
        progress: The workflow's.

    Returns:
        False where something was recorded meanwhile: then nothing is changed.
    """
    async with store.write() as tx:
        now = await store.now(tx)
        fresh = await ledger.enrollment(tx, row.id)
        if (fresh.seq, fresh.state, fresh.step) != (row.seq, row.state, row.step):
            return False
        plan = Plan.model_validate_json(row.plan)
        for entry in progress.happened:
            if entry.step and plan.step(entry.step).kind == "email":
                # The row on which the event's effect falls may be lost as well.
                await ledger.schedule(tx, row, entry.step, None, now)
            await recording.add_event(tx, row, entry, now)
            if entry.what is What.SENT:
                await _is_sent(tx, row, entry)
                if entry.step is not None:
                    await _counts(tx, row, entry.step, now)
        shown = Shown(
            state=progress.state,
            outcome=progress.outcome,
            step=progress.step,
            why=progress.why,
            next_at=progress.next_at_utc,
        )
        seq = max([row.seq, *(entry.seq for entry in progress.happened)])
        await recording.stand(tx, row, seq, shown, row.standing, now)
        if progress.state is State.ENDED:
            await _has_ended(tx, row, progress)
    if progress.state is State.TASK and progress.step:
        await _open_task(store, row, plan, progress, progress.step)
    return True


async def lost_rows(tx: AsyncConnection, row: Row[Any], progress: Progress) -> Sequence[str]:
    """Which emails and tasks say less than the workflow knows: `email 1`, `task 2`.

    Args:
        tx: A transaction.
        row: The enrollment's row.
        progress: The workflow's.
    """
    wanted = select(messages.c.step, messages.c.state).where(messages.c.enrollment_id == row.id)
    emails = {email.step: email.state for email in await tx.execute(wanted)}
    sent = [entry.step for entry in progress.happened if entry.what is What.SENT]
    lost = [f"email {step}" for step in sent if emails.get(step) != MessageState.SENT]
    step = progress.step
    if progress.state is State.TASK and step is not None:
        task = select(tasks.c.id).where(
            tasks.c.enrollment_id == row.id,
            tasks.c.step == step,
            tasks.c.status.in_((TaskStatus.OPEN, TaskStatus.SCHEDULED)),
        )
        if (await tx.execute(task)).first() is None:
            lost.append(f"task {step}")
    if progress.state is State.SLEEPING and step is not None and step not in emails:
        is_automatic = Plan.model_validate_json(row.plan).step(step).is_automatic
        lost += [f"email {step}"] if is_automatic else []
    return lost


async def close(store: Store, enrollment_id: str, outcome: Outcome) -> None:
    """End an enrollment in the tables, whose workflow is over and says no more than its outcome."""
    async with store.write() as tx:
        now = await store.now(tx)
        row = await ledger.enrollment(tx, enrollment_id)
        detail = {"outcome": str(outcome)}
        seq = await _last_seq(tx, row) + 1
        entry = Entry(seq=seq, at=now, what=What.ENDED, detail=detail)
        await recording.add_event(tx, row, entry, now)
        shown = Shown(state=State.ENDED, outcome=outcome, step=row.step)
        await recording.stand(tx, row, entry.seq, shown, row.standing, now)


async def _is_sent(tx: AsyncConnection, row: Row[Any], entry: Entry) -> None:
    """An email whose sending the tables have forgotten."""
    at = entry.detail.get("at")
    await tx.execute(
        update(messages)
        .where(
            messages.c.enrollment_id == row.id,
            messages.c.step == entry.step,
            messages.c.state != MessageState.SENT,
        )
        .values(
            state=MessageState.SENT,
            sent_at=entry.at if at is None else datetime.fromisoformat(at),
            why=None,
        )
    )


async def _counts(tx: AsyncConnection, row: Row[Any], step: int, now: datetime) -> None:
    """A sending that was forgotten counts against the mailbox's limits again."""
    message = await ledger.message(tx, row.id, step)
    if message is None or message.sent_at is None or message.sent_at < now - COUNTED_FOR:
        return
    this = (marks.c.enrollment_id == row.id) & (marks.c.step == step) & marks.c.handed_over
    if (await tx.execute(select(marks.c.id).where(this))).first() is None:
        await ledger.count_sent(tx, message, message.sent_at)


async def _has_ended(tx: AsyncConnection, row: Row[Any], progress: Progress) -> None:
    """For certain: the event may be there already, without its effect."""
    at = max((entry.at for entry in progress.happened if entry.what is What.ENDED), default=None)
    if at is None:
        return
    await tx.execute(
        update(enrollments)
        .where(enrollments.c.id == row.id, enrollments.c.ended_at.is_(None))
        .values(ended_at=at)
    )


async def _open_task(
    store: Store, row: Row[Any], plan: Plan, progress: Progress, step: int
) -> None:
    """Put the open task of the current step into its queue, unless it lies there."""
    of_it = [entry for entry in progress.happened if entry.step == step]
    opened = [entry for entry in of_it if entry.what is What.TASK_OPENED]
    if not opened:
        return
    due, rep_id = opened[-1].at.astimezone(plan.zone).date(), row.rep_id
    for entry in of_it:
        due = date.fromisoformat(entry.detail["due"]) if "due" in entry.detail else due
        rep_id = entry.detail.get("rep", rep_id)
    released = [entry.detail["hold"] for entry in progress.happened if entry.what is What.RELEASED]
    await Tasks(store).open_task(
        OpenTask(
            # A record that says nothing: the tables have taken over everything.
            record=Record(
                enrollment_id=row.id,
                seq=0,
                shown=Shown(state=State.TASK, step=step),
                standing=Standing.model_validate_json(row.standing),
            ),
            step=step,
            due=due,
            seq=opened[-1].seq,
            rep_id=rep_id,
            released=tuple(released),
        )
    )


# The workflow is lost: it starts from what the tables say


async def order_start(tx: AsyncConnection, enrollment_id: str, now: datetime) -> None:
    """Have a worker start an enrollment's workflow now."""
    key = f"{START}/{enrollment_id}"
    if not await outbox.put(tx, enrollment_id, kind=START, key=key, payload={}, now=now):
        again = {"not_before": now, "tries": 0, "delivered_at": None, "answer": None}
        await tx.execute(update(outbox_rows).where(outbox_rows.c.key == key).values(again))


async def rebuild(store: Store, client: Client, enrollment_id: str, task_queue: str) -> None:
    """Start a workflow that Temporal has lost, from where the tables say the enrollment stood.

    Steps that are over stay over; what was sent is not sent again.

    Raises:
        LookupError: The tables know no such enrollment.
        RPCError: Temporal did not do it.
    """
    async with store.read() as tx:
        row = await enrollments_table.find(tx, enrollment_id)
        if row is None:
            raise LookupError(f"the tables know no enrollment {enrollment_id}")
        start = await start_of(tx, row)
        carried = await _carried(tx, row, start)
    await start_workflow(client, replace(start, carried=carried), task_queue)


async def _carried(tx: AsyncConnection, row: Row[Any], start: Start) -> str:
    """The state of the workflow, as its rows tell it."""
    state = Enrollment.begin(
        CampaignInput(
            enrollment_id=start.enrollment_id,
            campaign=start.campaign,
            rep_id=start.rep_id,
            rep_zone=start.rep_zone,
            plan=start.plan,
            on_reply=start.on_reply,
            remove_on_bounce=start.remove_on_bounce,
        )
    )
    step = row.step or 1
    emails = {
        email.step: email
        for email in await tx.execute(select(messages).where(messages.c.enrollment_id == row.id))
    }
    wanted = select(tasks.c.step, tasks.c.status).where(
        and_(tasks.c.enrollment_id == row.id, tasks.c.step.is_not(None))
    )
    worked = {task.step: task.status for task in await tx.execute(wanted)}
    state.standing = Standing.model_validate_json(row.standing)
    state.step = step - 1
    state.seq = await _last_seq(tx, row)
    state.bounced = row.bounced_at is not None
    state.drafts = {
        number: email.draft_id for number, email in emails.items() if email.draft_id is not None
    }
    for number in range(1, step):
        state.over[number] = _how(emails.get(number), worked.get(number))
    return state.model_dump_json()


def _how(email: Row[Any] | None, task: str | None) -> Over:
    """How a step came to be over."""
    if email is not None and email.state == MessageState.SENT:
        return "sent" if task is None else "sent_by_rep"
    return "done" if task == TaskStatus.COMPLETED else "skipped"


async def _last_seq(tx: AsyncConnection, row: Row[Any]) -> int:
    """The number of the last entry: events may be recorded beyond the one at which the row stands.

    An entry under a number that was used before would be taken for a repetition, and lost.
    """
    found = await tx.execute(select(events.c.key).where(events.c.enrollment_id == row.id))
    last: int = max([row.seq, *(int(key) for key in found.scalars() if key.isdecimal())])
    return last
