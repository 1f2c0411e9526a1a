"""How each message changes an enrollment.

A message that cannot be carried out raises `Refused` and changes nothing. Each function takes the
enrollment, the message and the workflow's now. Updates are tried on a copy first.
"""

from datetime import datetime

from pydantic import ValidationError

from drumbeat.campaign import calendar
from drumbeat.campaign.calendar import Over, PlannedStep
from drumbeat.campaign.model import OnReply
from drumbeat.campaign.record import What
from drumbeat.campaign.states import Outcome, State, Why, WhyCode
from workflows import messages
from workflows.enrollment import Enrollment, Refused, SetHold, Task, iso

NOTHING = "the message is empty: an object is wanted, {} at least"


def unreadable(error: Exception) -> str:
    """Why a message cannot be read, by our own names: its text could hold personal data."""
    if not isinstance(error, ValidationError):
        return f"it cannot be read: {type(error).__name__}"
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    named = (f"{'.'.join(map(str, fault['loc'])) or 'it'} ({fault['type']})" for fault in faults)
    return f"it cannot be read: {', '.join(named)}"


# Messages: what a rep says of a task


def open_task(enrollment: Enrollment, message: messages.Message, task_id: str) -> Task:
    """The task that a message means; refused where it is not open."""
    check(enrollment, message)
    number = _number_of(enrollment, task_id)
    if number in enrollment.over or enrollment.outcome is not None:
        raise Refused(f"task {task_id} is over already: {enrollment.how_over(number)}")
    if number != enrollment.step or enrollment.task is None:
        raise Refused(f"task {task_id} is not open yet")
    if enrollment.phase is State.SENDING:
        asked = enrollment.who_asked(number)
        raise Refused(f"the email of task {task_id} is just being sent{asked}")
    return enrollment.task


def complete_task(enrollment: Enrollment, message: messages.CompleteTask, now: datetime) -> None:
    """The task is over; an email task was sent elsewhere."""
    open_task(enrollment, message, message.task_id)
    what = What.TASK_COMPLETED
    how: Over = "done"
    if enrollment.current.kind == "email":
        what, how = What.SENT_ELSEWHERE, "sent_by_rep"
    enrollment.note(
        now,
        what,
        step=enrollment.step,
        who=message.who,
        outcome=message.outcome,
        text=message.note_id,
        note=message.note,
    )
    enrollment.finish_step(now, how)


def skip_task(enrollment: Enrollment, message: messages.SkipTask, now: datetime) -> None:
    """The task is left out."""
    open_task(enrollment, message, message.task_id)
    if enrollment.phase is State.IN_DOUBT:
        raise Refused("it is in doubt whether its email was sent: resolve that first")
    enrollment.note(
        now, What.TASK_SKIPPED, step=enrollment.step, who=message.who, text=message.reason_id
    )
    enrollment.finish_step(now, "skipped")


def snooze_task(enrollment: Enrollment, message: messages.SnoozeTask, now: datetime) -> None:
    """Its due date moves; the calendar does not."""
    open_task(enrollment, message, message.task_id).due = message.due
    due = message.due.isoformat()
    enrollment.note(now, What.TASK_SNOOZED, step=enrollment.step, who=message.who, due=due)


def edit_task(enrollment: Enrollment, message: messages.EditTask, now: datetime) -> None:
    """What the message names changes."""
    task = open_task(enrollment, message, message.task_id)
    if message.draft_id is not None:
        if enrollment.current.kind != "email":
            raise Refused(f"task {message.task_id} is no email: it takes no draft")
        enrollment.drafts[enrollment.step] = message.draft_id
    if message.rep_id is not None:
        task.rep_id, task.rep_zone = message.rep_id, message.rep_zone
    if message.due is not None:
        task.due = message.due
    task.trouble = None
    if not enrollment.is_stuck:
        enrollment.be(State.TASK, Why(code=WhyCode.TASK, until=task.send_at))
    enrollment.note(
        now,
        What.TASK_EDITED,
        step=enrollment.step,
        who=message.who,
        rep=message.rep_id,
        due=message.due.isoformat() if message.due else None,
        subject=message.subject_id,
        notes=message.notes_id,
        priority=message.priority,
        draft=message.draft_id,
    )


def send_task_email(enrollment: Enrollment, message: messages.SendTaskEmail, now: datetime) -> None:
    """The rep's email is to leave, now or at a moment."""
    task = open_task(enrollment, message, message.task_id)
    if enrollment.current.kind != "email":
        raise Refused(f"task {message.task_id} is no email: complete it instead")
    if enrollment.is_held(now):
        kinds = ", ".join(sorted({hold.kind for hold in enrollment.holds.values()}))
        raise Refused(f"held ({kinds}): nothing leaves until that is released")
    if enrollment.phase is State.IN_DOUBT:
        raise Refused("it is in doubt whether it was sent already: resolve that first")
    if message.at is not None and message.at <= now:
        raise Refused("the moment to send it has passed already")
    if task.send_now:
        asked = enrollment.who_asked(enrollment.step)
        raise Refused(f"the email of task {message.task_id} is leaving already{asked}")
    if message.draft_id is not None:
        enrollment.drafts[enrollment.step] = message.draft_id
    task.trouble = None
    task.send_now, task.send_at = message.at is None, message.at
    enrollment.be(State.TASK, Why(code=WhyCode.TASK, until=message.at))
    what = What.SEND_ASKED if message.at is None else What.TASK_SCHEDULED
    enrollment.note(
        now, what, step=enrollment.step, who=message.who, draft=message.draft_id, at=iso(message.at)
    )


def unschedule(enrollment: Enrollment, message: messages.Unschedule, now: datetime) -> None:
    """A scheduled rep's email is a plain open task again."""
    task = open_task(enrollment, message, message.task_id)
    if task.send_at is None:
        raise Refused(f"task {message.task_id} is not scheduled")
    task.send_at = None
    enrollment.be(State.TASK, Why(code=WhyCode.TASK))
    enrollment.note(now, What.TASK_UNSCHEDULED, step=enrollment.step, who=message.who)


# Messages: what somebody says of a step


def waiting_email(enrollment: Enrollment, message: messages.Message, number: int) -> PlannedStep:
    """An automatic email that has not left; refused where it is something else."""
    step = waiting_step(enrollment, message, number)
    if not step.is_automatic:
        raise Refused(f"step {number} is a task: edit or schedule the task")
    if number == enrollment.step and enrollment.phase is State.IN_DOUBT:
        raise Refused(f"it is in doubt whether step {number} was sent: resolve that first")
    return step


def waiting_step(enrollment: Enrollment, message: messages.Message, number: int) -> PlannedStep:
    """A step that is not over; refused where there is none, or it is over, or just leaving."""
    check(enrollment, message)
    _check_number(enrollment, number)
    if enrollment.outcome is not None:
        raise Refused(f"the enrollment has ended already: {enrollment.outcome}")
    if number in enrollment.over:
        raise Refused(f"step {number} is over already: {enrollment.how_over(number)}")
    if number == enrollment.step and enrollment.phase is State.SENDING:
        raise Refused(f"step {number} is just being sent")
    return enrollment.plan.step(number)


def edit_email(enrollment: Enrollment, message: messages.EditEmail, now: datetime) -> None:
    """An automatic email leaves with a rep's text; one that failed is tried again."""
    waiting_email(enrollment, message, message.step)
    enrollment.drafts[message.step] = message.draft_id
    enrollment.note(
        now, What.EMAIL_EDITED, step=message.step, who=message.who, draft=message.draft_id
    )
    if message.step == enrollment.step and enrollment.is_stuck:
        enrollment.look_again(now)


def move_email(enrollment: Enrollment, message: messages.MoveEmail, now: datetime) -> None:
    """An automatic email leaves at another moment."""
    step = waiting_email(enrollment, message, message.step)
    if message.at <= now:
        raise Refused("the moment to move it to has passed already")
    enrollment.standing = calendar.move(enrollment.standing, step, message.at)
    at = message.at.isoformat()
    enrollment.note(now, What.EMAIL_MOVED, step=message.step, who=message.who, at=at)
    if message.step == enrollment.step:
        enrollment.set_due(enrollment.due_of(step, now))
        if not enrollment.is_stuck:
            enrollment.be(State.SLEEPING, Why(code=WhyCode.TIME, until=enrollment.due_at))


def skip_step(enrollment: Enrollment, message: messages.SkipStep, now: datetime) -> None:
    """A step that is not over is left out, at once or when its turn comes."""
    waiting_step(enrollment, message, message.step)
    if message.step == enrollment.step and enrollment.phase is State.IN_DOUBT:
        raise Refused(f"it is in doubt whether step {message.step} was sent: resolve that")
    if message.step == enrollment.step:
        enrollment.skip_current(now, message.who, message.reason_id, WhyCode.SKIPPED)
    else:
        enrollment.skips[message.step] = message.reason_id
        enrollment.note(
            now,
            What.SKIP_ASKED,
            step=message.step,
            who=message.who,
            text=message.reason_id,
        )


def retry_step(enrollment: Enrollment, message: messages.RetryStep, now: datetime) -> None:
    """A failed or blocked step is tried again."""
    number = message.step if message.step is not None else enrollment.step
    waiting_step(enrollment, message, number)
    if number != enrollment.step or enrollment.phase not in (State.BLOCKED, State.FAILED):
        raise Refused(f"step {number} neither failed nor is it blocked")
    enrollment.note(now, What.RETRIED, step=number, who=message.who)
    enrollment.go_on(now)


def mended(enrollment: Enrollment, message: messages.Mended, now: datetime) -> None:
    """The person's data changed: what is blocked looks again."""
    check(enrollment, message)
    if enrollment.outcome is not None:
        raise Refused(f"the enrollment has ended already: {enrollment.outcome}")
    enrollment.note(now, What.MENDED, step=enrollment.step or None, who=message.who)
    if enrollment.phase is State.BLOCKED:
        enrollment.look_again(now)


def resolve_doubt(enrollment: Enrollment, message: messages.ResolveDoubt, now: datetime) -> None:
    """Somebody says what became of an email in doubt."""
    number = message.step if message.step is not None else enrollment.step
    waiting_step(enrollment, message, number)
    if number != enrollment.step or enrollment.phase is not State.IN_DOUBT:
        raise Refused(f"step {number} is not in doubt")
    at = message.at or now
    detail = {"sent": "yes" if message.sent else "no", "at": at.isoformat()}
    enrollment.note(now, What.RESOLVED, step=number, who=message.who, **detail)
    if message.sent:
        enrollment.finish_step(at, "sent_by_rep" if enrollment.task is not None else "sent")
    else:
        enrollment.go_on(now)


def late_answer(enrollment: Enrollment, message: messages.LateAnswer, now: datetime) -> None:
    """The mail server had taken it after all."""
    check(enrollment, message)
    if message.step != enrollment.step or enrollment.is_over:
        raise Refused(f"step {message.step} waits for no answer")
    if enrollment.phase is State.SENDING:
        # Its attempt has not been heard yet: a signal overtakes it within one workflow task.
        enrollment.late_at = message.at
    else:
        enrollment.taken(message.at, now)


# Messages: what happens to the person


def replied(enrollment: Enrollment, message: messages.Replied, now: datetime) -> None:
    """The person answered: end or go on, as the campaign says."""
    check(enrollment, message)
    enrollment.note(now, What.REPLIED, reply=message.reply_id)
    if enrollment.on_reply is not OnReply.CONTINUE:
        is_end = enrollment.on_reply is OnReply.END
        enrollment.finish(Outcome.REPLIED if is_end else Outcome.REPLIED_SUCCESS, now)


def bounced(enrollment: Enrollment, message: messages.Bounced, now: datetime) -> None:
    """A delivery report came back."""
    check(enrollment, message)
    if message.step is not None:
        _check_number(enrollment, message.step)
    sent = [number for number, how in enrollment.over.items() if how.startswith("sent")]
    step = message.step or (sent[-1] if sent else None)
    hard = "yes" if message.hard else "no"
    enrollment.note(now, What.BOUNCED, step=step, who=message.who, hard=hard)
    if enrollment.outcome is not None:
        return
    if message.hard:
        enrollment.bounce_hard(now)
    elif step is not None:
        enrollment.bounce_softly(step, now)


def unsubscribed(enrollment: Enrollment, message: messages.Unsubscribed, now: datetime) -> None:
    """The person wants no more email."""
    check(enrollment, message)
    enrollment.note(
        now, What.UNSUBSCRIBED, step=message.step, who=message.who, text=message.reason_id
    )
    enrollment.finish(Outcome.UNSUBSCRIBED, now, message.who)


def hold(enrollment: Enrollment, message: messages.Hold, now: datetime) -> None:
    """Nothing opens or leaves; a hold that was released before it came stays released."""
    check(enrollment, message)
    if message.hold_id in enrollment.released:
        raise Refused(f"hold {message.hold_id} was released already")
    if message.hold_id in enrollment.holds:
        raise Refused(f"hold {message.hold_id} is set already")
    enrollment.holds[message.hold_id] = SetHold(kind=message.kind, until=message.until)
    enrollment.note(
        now,
        What.HELD,
        who=message.who,
        hold=message.hold_id,
        kind=message.kind,
        text=message.reason_id,
        until=iso(message.until),
    )


def release(enrollment: Enrollment, message: messages.Release, now: datetime) -> None:
    """A hold is lifted; remembered, so that it cannot be set afterwards."""
    check(enrollment, message)
    if message.hold_id in enrollment.released:
        raise Refused(f"hold {message.hold_id} was released already")
    enrollment.drop_hold(message.hold_id, now, message.who)


def end(enrollment: Enrollment, message: messages.End, now: datetime) -> None:
    """The person is removed from the campaign."""
    check(enrollment, message)
    if enrollment.outcome is not None:
        raise Refused(f"the enrollment has ended already: {enrollment.outcome}")
    outcome = Outcome.SUCCESS if message.success else Outcome.REMOVED
    enrollment.outcome = outcome
    enrollment.note(now, What.ENDED, who=message.who, outcome=outcome, text=message.reason_id)


def check(enrollment: Enrollment, message: messages.Message | None) -> None:
    """Whether a message says something and means this enrollment."""
    if message is None:
        raise Refused(NOTHING)
    if message.enrollment_id not in (None, enrollment.id):
        raise Refused(f"it means enrollment {message.enrollment_id}, this is {enrollment.id}")


def _check_number(enrollment: Enrollment, number: int) -> None:
    if not 1 <= number <= len(enrollment.plan.steps):
        raise Refused(f"there is no step {number}: the campaign has {len(enrollment.plan.steps)}")


def _number_of(enrollment: Enrollment, task_id: str) -> int:
    enrollment_id, _, number = task_id.rpartition("-")
    steps = len(enrollment.plan.steps)
    if enrollment_id != enrollment.id or not number.isdecimal() or not 1 <= int(number) <= steps:
        raise Refused(f"there is no task {task_id[:60]} in this enrollment")
    if not enrollment.plan.step(int(number)).is_task:
        raise Refused(f"step {number} is no task: it is sent automatically")
    return int(number)
