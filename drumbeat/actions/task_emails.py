"""What a rep does with an email task: write, send, schedule, take back (SPEC section 5)."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from activities.letters import Letters
from drumbeat.actions import drafting
from drumbeat.actions.asking import PATIENCE, Answer
from drumbeat.actions.attaching import Files
from drumbeat.actions.desk import Desk, moment
from drumbeat.actions.drafting import EmailShown
from drumbeat.actions.errors import ActionError
from drumbeat.actions.people import local_moment
from drumbeat.actions.tasks import Done, Hand, find, note_audit, take, tell
from drumbeat.campaign.states import MessageState, State, Why, explain
from drumbeat.store import holds, ledger
from drumbeat.store.schema import enrollments, messages
from workflows.messages import SendTaskEmail, Unschedule

LOOK_EVERY = 0.1
"""Seconds between two looks for what became of an email: it takes about that long to leave."""


async def see(desk: Desk, letters: Letters, task: Row[Any]) -> EmailShown:
    """The email of a task as it would leave now, with its draft where there is one.

    Raises:
        ActionError: The task has no email, or that cannot be rendered.
    """
    _refuse_without_email(task)
    return await drafting.show_email(desk, letters, task.enrollment_id, task.step, task.draft_id)


async def write_draft(
    desk: Desk,
    letters: Letters,
    task_id: str,
    *,
    subject: str | None = None,
    body: str | None = None,
    cc: Sequence[str] | None = None,
    draft_id: str | None = None,
    files: Files | None = None,
) -> tuple[str, str | None]:
    """Save a rep's text; `send`, `schedule` or `tasks.edit` make it the task's.

    Args:
        desk: Who writes.
        letters: Renders what the draft is based on.
        task_id: The task.
        subject: The email's subject; None: as it was.
        body: HTML or plain text; None: as it was.
        cc: The addresses of the copies; None: as they were.
        draft_id: The draft before it; None: the task's, if there is one.
        files: What changes among the files that travel with it; None: nothing.

    Returns:
        The draft's id, and what would keep it from being sent as it stands, if anything.

    Raises:
        ActionError: There is no such task, it is over, has no email, or the text cannot be used.
    """
    async with desk.store.write() as tx:
        hand = await _take_email(desk, tx, task_id)
    return await drafting.save_draft(
        desk,
        letters,
        hand.task.enrollment_id,
        hand.task.step,
        draft_id or hand.task.draft_id,
        subject=subject,
        body=body,
        who=hand.who,
        cc=cc,
        files=files,
    )


async def send(desk: Desk, task_id: str, *, draft_id: str | None = None) -> Done:
    """Send a task's email now, and wait until it has left or is known not to, some 10 s at most.

    Args:
        desk: Who sends.
        task_id: The task.
        draft_id: See `write_draft`; None: the task's draft, or its template.

    Raises:
        ActionError: It did not leave, or may not be asked to: the text says why.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE.total_seconds()
    async with desk.store.write() as tx:
        hand = await _take_email(desk, tx, task_id)
        await _refuse_if_held(desk, tx, hand)
    message = SendTaskEmail(
        enrollment_id=hand.task.enrollment_id, who=hand.who, task_id=task_id, draft_id=draft_id
    )
    answer = await tell(desk, hand, "send_task_email", message)
    await note_audit(desk, hand, "send", None)
    while answer is Answer.DONE:
        done = await _what_became(desk, hand)
        if done is not None:
            return done
        if loop.time() >= until:
            break
        await asyncio.sleep(LOOK_EVERY)
    text = f"the email of task {task_id} is on its way: whether it has left is not shown yet"
    return Done(await find(desk, task_id), "send_asked", text, Answer.NOT_YET_SHOWN)


async def schedule(
    desk: Desk,
    task_id: str,
    at: str | datetime,
    *,
    draft_id: str | None = None,
    letters: Letters | None = None,
) -> Done:
    """Let a task's email leave at a moment; the task is over when it is sent.

    Args:
        desk: Who schedules.
        task_id: The task.
        at: As `parse_moment` reads it: without an offset, local to the enrollment's zone.
        draft_id: See `write_draft`; None: the task's draft, or its template.
        letters: To look now whether it may leave as it stands, rather than at its moment.

    Raises:
        ActionError: The moment cannot be used, or the email may not be scheduled.
    """
    async with desk.store.write() as tx:
        hand = await _take_email(desk, tx, task_id)
        send_at = _moment(at, hand)
        await _refuse_if_held(desk, tx, hand)
    if letters is not None:
        email = await drafting.show_email(
            desk,
            letters,
            hand.task.enrollment_id,
            hand.task.step,
            draft_id or hand.task.draft_id,
        )
        if email.trouble is not None:
            raise ActionError(f"task {task_id} is not scheduled: {email.trouble}")
    message = SendTaskEmail(
        enrollment_id=hand.task.enrollment_id,
        who=hand.who,
        task_id=task_id,
        draft_id=draft_id,
        at=send_at,
    )
    answer = await tell(desk, hand, "send_task_email", message)
    await note_audit(desk, hand, "schedule", None)
    text = f"the email of task {task_id} leaves {moment(send_at, hand.zone, hand.rep_zone)}"
    return Done(await find(desk, task_id), "scheduled", text, answer, send_at)


async def unschedule(desk: Desk, task_id: str) -> Done:
    """A scheduled email is a plain open task again.

    Raises:
        ActionError: It is not scheduled, or no email.
    """
    async with desk.store.write() as tx:
        hand = await _take_email(desk, tx, task_id)
    message = Unschedule(enrollment_id=hand.task.enrollment_id, who=hand.who, task_id=task_id)
    answer = await tell(desk, hand, "unschedule", message)
    text = f"the email of task {task_id} is not scheduled any more: the task is open"
    return Done(await find(desk, task_id), "unscheduled", text, answer)


async def _take_email(desk: Desk, tx: AsyncConnection, task_id: str) -> Hand:
    hand = await take(desk, tx, task_id)
    _refuse_without_email(hand.task)
    return hand


def _refuse_without_email(task: Row[Any]) -> None:
    if task.kind != "email":
        raise ActionError(f"task {task.id} is no email ({task.kind}): complete it instead")
    if task.step is None:
        raise ActionError(
            f"task {task.id} belongs to no step, so that no template goes with it: write the "
            "email in your mail program, then complete the task"
        )


async def _refuse_if_held(desk: Desk, tx: AsyncConnection, hand: Hand) -> None:
    """The tables know of a hold before the workflow is told."""
    enrollment = await ledger.enrollment(tx, hand.task.enrollment_id)
    for hold in await holds.active(tx, enrollment, hand.now):
        kind = hold.kind.replace("_", " ")
        until = f" until {moment(hold.until, hand.zone, hand.rep_zone)}" if hold.until else ""
        reason = f", {hold.reason}" if hold.reason else ""
        raise ActionError(
            f"task {hand.task.id} is held ({kind}{reason}){until}: nothing leaves until that is "
            "released"
        )


def _moment(at: str | datetime, hand: Hand) -> datetime:
    """The moment in UTC, still to come.

    Raises:
        ActionError: It cannot be read, does not exist, or has passed.
    """
    send_at = local_moment(at if isinstance(at, str) else at.isoformat(), [hand.task])
    if send_at <= hand.now:
        raise ActionError(
            f"{moment(send_at, hand.zone, hand.rep_zone)} has passed: choose a moment to come, or "
            "`task send`"
        )
    return send_at


async def _what_became(desk: Desk, hand: Hand) -> Done | None:
    """What the tables say of an email that was asked to leave; None: nothing yet.

    Raises:
        ActionError: It did not leave.
    """
    task = hand.task
    async with desk.store.read() as tx:
        wanted = (
            select(messages, enrollments.c.state.label("standing"), enrollments.c.why.label("wait"))
            .join(enrollments, enrollments.c.id == messages.c.enrollment_id)
            .where(messages.c.enrollment_id == task.enrollment_id, messages.c.step == task.step)
        )
        email = (await tx.execute(wanted)).one_or_none()
    if email is None:
        return None
    why = Why.model_validate(email.why) if email.why else None
    reason = explain(why) if why else ""
    match MessageState(email.state):
        case MessageState.SENT:
            at = moment(email.sent_at, hand.zone, hand.rep_zone)
            text = f"the email of task {task.id} is sent: {at}"
            return Done(await find(desk, task.id), "sent", text, at=email.sent_at)
        case MessageState.BLOCKED:
            raise ActionError(
                f"the email of task {task.id} is not sent, the task stays open: {reason}"
            )
        case MessageState.IN_DOUBT:
            raise ActionError(
                f"the email of task {task.id}: {reason} (`person resolve`), it is not sent again "
                "by itself"
            )
        case MessageState.FAILED | MessageState.CANCELLED:
            words = f" ({email.answer})" if email.answer else ""
            raise ActionError(f"the email of task {task.id} is not sent: {reason}{words}")
        case MessageState.SCHEDULED if why is not None and why.until is not None:
            until = moment(why.until, hand.zone, hand.rep_zone)
            text = f"the email of task {task.id} {reason}, until {until}; then it leaves"
            return Done(await find(desk, task.id), "waiting", text, at=why.until)
        case MessageState.SCHEDULED if email.standing == State.HELD:
            wait = explain(Why.model_validate(email.wait)) if email.wait else "held"
            raise ActionError(
                f"the email of task {task.id} is not sent yet: {wait}; it leaves when that is "
                "released"
            )
        case _:
            return None
