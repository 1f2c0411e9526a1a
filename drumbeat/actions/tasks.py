"""What a rep does with a task: complete, skip, snooze, reassign, edit (SPEC section 5).

The task of a step is its workflow's to change: it is asked. One without a step lives in the
database alone. What an email task can do beyond this is in `task_emails`.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Row
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.actions import own_tasks
from drumbeat.actions.asking import Answer
from drumbeat.actions.desk import Desk, keep_text, refuse_if_over, rep_of
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.actions.people import person_of
from drumbeat.campaign.calendar import Plan, local_date
from drumbeat.campaign.model import Priority
from drumbeat.campaign.record import What
from drumbeat.campaign.states import TaskStatus
from drumbeat.store import audit, campaigns, reps
from drumbeat.store import tasks as queue_of
from drumbeat.store.schema import tasks
from workflows import messages

LONGEST_OUTCOME = 60
"""Characters of a call's outcome where the campaign names none: a word or two, not a note."""
LONGEST_SUBJECT = 255


@dataclass(frozen=True, slots=True)
class Done:
    """What was done with a task."""

    task: Row[Any]
    """As it stands now, with the columns of `store.tasks.shown`."""
    what: str
    """A slug: completed, sent, …"""
    text: str
    """The same, for people."""
    answer: Answer = Answer.DONE
    at: datetime | None = None
    """When its email was sent, or will be; UTC."""


@dataclass(frozen=True, slots=True)
class Hand:
    """A rep's hand on an open task."""

    task: Row[Any]
    who: str
    """The id of the rep who acts."""
    now: datetime
    """UTC."""

    @property
    def zone(self) -> ZoneInfo:
        """The enrollment's zone; of a task without one, the rep's, else UTC."""
        return zone_of(self.task)

    @property
    def rep_zone(self) -> ZoneInfo | None:
        """The zone of the task's rep."""
        return ZoneInfo(self.task.rep_zone) if self.task.rep_zone else None


@dataclass(frozen=True, slots=True)
class _Walk:
    """What `Desk.ask` needs of an enrollment."""

    id: str
    workflow_id: str


# Reading


async def queue(
    desk: Desk,
    *conditions: ColumnElement[bool],
    with_closed: bool = False,
    limit: int | None = None,
    offset: int = 0,
) -> list[Row[Any]]:
    """The open and scheduled tasks of the rep who acts, else of all, in the queue's order.

    Args:
        desk: From where it is asked.
        conditions: Filters on the columns that `store.tasks.queue` names.
        with_closed: Also those that are over.
        limit: At most so many; None: all.
        offset: Without the first so many.

    Raises:
        ActionError: Nobody has the address that acts.
    """
    async with desk.store.read() as tx:
        if desk.acting is not None:
            conditions += (tasks.c.rep_id == await desk.who(tx, None),)
        found = await queue_of.queue(
            tx, *conditions, with_closed=with_closed, limit=limit, offset=offset
        )
    return list(found)


async def find(desk: Desk, task_id: str) -> Row[Any]:
    """One task, with the columns of `store.tasks.shown`.

    Raises:
        NotFound: There is none.
    """
    async with desk.store.read() as tx:
        return await _find(tx, task_id)


def zone_of(task: Row[Any]) -> ZoneInfo:
    """The zone of a task's dates: the enrollment's; without one, the rep's, else UTC."""
    if task.plan is not None:
        return Plan.model_validate_json(task.plan).zone
    return ZoneInfo(task.rep_zone or "UTC")


# Acting


async def add(
    desk: Desk,
    person: str,
    subject: str,
    *,
    kind: str = "custom",
    due: date | None = None,
    priority: Priority = Priority.NORMAL,
    notes: str | None = None,
) -> Done:
    """Add a rep's own task for a person: it belongs to no step and moves no campaign.

    Args:
        desk: Whose task it is to be; where nobody acts, or no rep, the rep who wrote to the
            person last.
        person: The person's address.
        subject: What is to be done.
        kind: One of `own_tasks.KINDS`.
        due: Default: today, where the rep is.
        priority: Normal or high.
        notes: What the rep is to know.

    Raises:
        ActionError: Nobody has the address, whose task it is cannot be told, or the subject is
            empty.
    """
    if kind not in own_tasks.KINDS:
        raise ActionError(f"{kind!r} is no kind of task: it is one of {', '.join(own_tasks.KINDS)}")
    subject = clean_subject(subject)
    async with desk.store.write() as tx:
        now = await desk.store.now(tx)
        known = await person_of(tx, person)
        who = await desk.who(tx, None)
        rep = None if who is None else await reps.find(tx, who)
        if rep is None:
            rep = await own_tasks.usual_rep(tx, known.id)
        task_id = await own_tasks.insert_own(
            tx,
            person_id=known.id,
            rep_id=rep.id,
            who=who or rep.id,
            kind=kind,
            subject=subject,
            due=due or local_date(now, ZoneInfo(rep.timezone or "UTC")),
            priority=priority,
            notes=notes.strip() if notes and notes.strip() else None,
            now=now,
        )
    text = f"task {task_id} is in {rep.name}'s queue"
    return Done(await find(desk, task_id), "added", text)


async def complete(
    desk: Desk, task_id: str, *, outcome: str | None = None, note: str | None = None
) -> Done:
    """The task is done; an email task counts as sent elsewhere at this moment.

    Args:
        desk: Who does it.
        task_id: The task.
        outcome: Of a call: one of the campaign's, where it names some.
        note: The rep's own words.

    Raises:
        ActionError: There is no such task, it is over, or the outcome is none.
    """
    async with desk.store.write() as tx:
        hand = await take(desk, tx, task_id)
        outcome = await _known_outcome(tx, hand.task, outcome)
        note_id = await keep_text(tx, note, hand.who, hand.now)
        if hand.task.step is None:
            await own_tasks.close(
                tx, hand.task, TaskStatus.COMPLETED, hand.who, hand.now, outcome, note_id
            )
    answer = await tell(
        desk,
        hand,
        "complete_task",
        messages.CompleteTask(
            enrollment_id=hand.task.enrollment_id,
            who=hand.who,
            task_id=task_id,
            outcome=outcome,
            note_id=note_id,
        ),
        is_signal_too=True,
    )
    text = f"task {task_id} is completed"
    if hand.task.kind == "email" and hand.task.step is not None:
        text += (
            ": its email was not sent from here and counts as sent elsewhere, now "
            "(`task send` would have sent it)"
        )
    return Done(await find(desk, task_id), "completed", text, answer)


async def skip(desk: Desk, task_id: str, *, reason: str | None = None) -> Done:
    """The task is left out.

    Raises:
        ActionError: There is no such task, it is over, or just being sent.
    """
    async with desk.store.write() as tx:
        hand = await take(desk, tx, task_id)
        reason_id = await keep_text(tx, reason, hand.who, hand.now)
        if hand.task.step is None:
            await own_tasks.close(
                tx, hand.task, TaskStatus.SKIPPED, hand.who, hand.now, None, reason_id
            )
    answer = await tell(
        desk,
        hand,
        "skip_task",
        messages.SkipTask(
            enrollment_id=hand.task.enrollment_id,
            who=hand.who,
            task_id=task_id,
            reason_id=reason_id,
        ),
    )
    await note_audit(desk, hand, "skip", reason)
    return Done(await find(desk, task_id), "skipped", f"task {task_id} is skipped", answer)


async def snooze(desk: Desk, task_id: str, to: date) -> Done:
    """The task's due date moves; the calendar does not.

    Raises:
        ActionError: There is no such task, it is over, or the date has passed.
    """
    async with desk.store.write() as tx:
        hand = await take(desk, tx, task_id)
        today = local_date(hand.now, hand.zone)
        if to < today:
            raise ActionError(
                f"{to} has passed: today is {today} in {hand.zone.key}, choose a date from then on"
            )
        if hand.task.step is None:
            detail = {"due": to.isoformat()}
            await own_tasks.change(
                tx, hand.task, What.TASK_SNOOZED, hand.who, hand.now, {"due": to}, detail
            )
    answer = await tell(
        desk,
        hand,
        "snooze_task",
        messages.SnoozeTask(
            enrollment_id=hand.task.enrollment_id, who=hand.who, task_id=task_id, due=to
        ),
    )
    text = f"task {task_id} is due on {to:%a %d %b %Y}; the campaign's calendar stays"
    return Done(await find(desk, task_id), "snoozed", text, answer)


async def reassign(desk: Desk, task_id: str, to: str) -> Done:
    """The task is another rep's; its email still leaves from the enrollment's mailbox.

    Args:
        desk: Who does it.
        task_id: The task.
        to: The other rep's address.

    Raises:
        ActionError: There is no such task, it is over, or no rep has that address.
    """
    async with desk.store.write() as tx:
        hand = await take(desk, tx, task_id)
        rep = await rep_of(tx, to)
        if hand.task.step is None:
            await own_tasks.change(
                tx,
                hand.task,
                What.TASK_EDITED,
                hand.who,
                hand.now,
                {"rep_id": rep.id},
                {"rep": rep.id},
            )
    answer = await tell(
        desk,
        hand,
        "edit_task",
        messages.EditTask(
            enrollment_id=hand.task.enrollment_id,
            who=hand.who,
            task_id=task_id,
            rep_id=rep.id,
            rep_zone=ZoneInfo(rep.timezone) if rep.timezone else None,
        ),
    )
    await note_audit(desk, hand, "reassign", None)
    text = f"task {task_id} is {rep.name}'s ({rep.email})"
    if hand.task.kind == "email" and hand.task.step is not None and rep.id != hand.task.sender_id:
        text += "; its email still leaves from the mailbox of the enrollment's rep"
    return Done(await find(desk, task_id), "reassigned", text, answer)


async def edit(
    desk: Desk,
    task_id: str,
    *,
    subject: str | None = None,
    due: date | None = None,
    priority: Priority | None = None,
    notes: str | None = None,
    draft_id: str | None = None,
) -> Done:
    """Change what is not None.

    Args:
        desk: Who does it.
        task_id: The task.
        subject: What the task is called; an email's own subject belongs to its draft.
        due: A date; the calendar does not move.
        priority: Normal or high.
        notes: What the rep is to know; blank: none.
        draft_id: Of an email task: the rep's text, see `task_emails.write_draft`.

    Raises:
        ActionError: There is no such task, it is over, or nothing is to be changed.
    """
    if (subject, due, priority, notes, draft_id) == (None,) * 5:
        raise ActionError("nothing to change: name at least one thing and what it is to become")
    if subject is not None:
        subject = clean_subject(subject)
    async with desk.store.write() as tx:
        hand = await take(desk, tx, task_id)
        subject_id = await keep_text(tx, subject, hand.who, hand.now)
        notes_id = None
        if notes is not None:
            notes_id = await keep_text(tx, notes, hand.who, hand.now, keep_blank=True)
        if hand.task.step is None:
            values = {
                "subject": subject,
                "due": due,
                "priority": priority,
                "notes": None if notes is None else notes.strip(),
            }
            changed = {name: value for name, value in values.items() if value is not None}
            await own_tasks.change(
                tx,
                hand.task,
                What.TASK_EDITED,
                hand.who,
                hand.now,
                changed,
                {"changed": ", ".join(changed)},
            )
    answer = await tell(
        desk,
        hand,
        "edit_task",
        messages.EditTask(
            enrollment_id=hand.task.enrollment_id,
            who=hand.who,
            task_id=task_id,
            subject_id=subject_id,
            due=due,
            priority=priority,
            notes_id=notes_id,
            draft_id=draft_id,
        ),
    )
    return Done(await find(desk, task_id), "edited", f"task {task_id} is changed", answer)


# What the actions share


async def take(desk: Desk, tx: AsyncConnection, task_id: str) -> Hand:
    """Take an open task in hand, by who acts: default, the enrollment's rep, else the task's.

    Raises:
        ActionError: There is no such task, it is over (who was faster is named), or nobody has
            the address that acts.
    """
    task = await _find(tx, task_id)
    await refuse_if_over(tx, task)
    who = await desk.who(tx, task.sender_id or task.rep_id)
    return Hand(task, str(who), await desk.store.now(tx))


async def tell(
    desk: Desk,
    hand: Hand,
    update: str,
    message: messages.Message,
    *,
    is_signal_too: bool = False,
) -> Answer:
    """Ask the workflow of a step's task, see `Desk.ask`; what has no step was changed already.

    Raises:
        ActionError: The workflow refuses, or does not answer.
    """
    task = hand.task
    if task.step is None:
        return Answer.DONE
    walk = _Walk(task.enrollment_id, task.workflow_id)
    return await desk.ask(walk, update, message, step=task.step, is_signal_too=is_signal_too)


async def note_audit(desk: Desk, hand: Hand, action: str, why: str | None) -> None:
    """Note in the audit log what was done."""
    async with desk.store.write() as tx:
        now = await desk.store.now(tx)
        await audit.append(tx, who=hand.who, action=action, target=hand.task.id, why=why, now=now)


def clean_subject(subject: str) -> str:
    """A task's subject as one line.

    Raises:
        ActionError: It is empty or too long.
    """
    cleaned = " ".join(subject.split())
    if not cleaned:
        raise ActionError("the subject is empty: say what is to be done")
    if len(cleaned) > LONGEST_SUBJECT:
        raise ActionError(f"the subject is longer than {LONGEST_SUBJECT} characters")
    return cleaned


async def _find(tx: AsyncConnection, task_id: str) -> Row[Any]:
    task = await queue_of.find(tx, task_id)
    if task is None:
        raise NotFound(f"there is no task {task_id[:60]}: `task list` shows them")
    return task


async def _known_outcome(tx: AsyncConnection, task: Row[Any], outcome: str | None) -> str | None:
    """The outcome as the campaign writes it.

    Raises:
        ActionError: The task is no call, or the campaign does not know the outcome.
    """
    if outcome is None:
        return None
    if task.kind != "call":
        raise ActionError(f"task {task.id} is no call ({task.kind}): only a call has an outcome")
    outcome = " ".join(outcome.split())
    known: tuple[str, ...] = ()
    if task.version is not None:
        known = (await campaigns.load(tx, task.version)).settings.call_outcomes
    if not known:
        if not 0 < len(outcome) <= LONGEST_OUTCOME:
            raise ActionError(
                f"an outcome is 1 to {LONGEST_OUTCOME} characters: a longer text is a note"
            )
        return outcome
    for name in known:
        if name.casefold() == outcome.casefold():
            return name
    raise ActionError(
        f"{outcome!r} is no outcome of campaign {task.campaign}: it is one of {', '.join(known)}"
    )
