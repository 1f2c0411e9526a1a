"""How an enrollment is shown to people: the query's answer, and the page in the Temporal UI."""

from datetime import date, datetime

from drumbeat.campaign import calendar
from drumbeat.campaign.calendar import PlannedStep
from drumbeat.campaign.states import State, explain
from workflows.enrollment import Enrollment
from workflows.messages import Progress

_SIGNS = {
    "sent": "✓ sent",
    "sent_by_rep": "✓ sent by the rep",
    "done": "✓ done",
    "skipped": "✗ skipped",
}
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def summary(step: PlannedStep) -> str:
    """What a step is called on timers and activities: "day 4: email 'bump'"."""
    name = f" '{step.label}'" if step.label and step.label != step.kind else ""
    return f"day {step.day}: {step.kind}{name}"[:200]


def progress(enrollment: Enrollment) -> Progress:
    """Where the enrollment stands, for the query."""
    shown = enrollment.shown()
    next_at = shown.next_at
    return Progress(
        enrollment_id=enrollment.id,
        state=shown.state,
        outcome=shown.outcome,
        step=shown.step,
        why=shown.why,
        why_text=explain(shown.why) if shown.why else None,
        next_at=next_at.astimezone(enrollment.plan.zone).isoformat() if next_at else None,
        next_at_utc=next_at,
        happened=tuple(enrollment.happened),
    )


def details(enrollment: Enrollment) -> str:
    """The steps done and to come, as Markdown for the workflow's page in the Temporal UI."""
    shown = enrollment.shown()
    head = f"**{shown.state.replace('_', ' ')}**"
    if shown.outcome:
        head += f": {shown.outcome.replace('_', ' ')}"
    elif shown.why:
        head += f": {explain(shown.why)}"
    if shown.next_at:
        head += f", until {_local(enrollment, shown.next_at)}"
    lines = [head, "", "| step | what | when |", "| --- | --- | --- |"]
    due = enrollment.due_at
    today = due.astimezone(enrollment.plan.zone).date() if due else None
    lines += [_row(enrollment, step, shown.state, today) for step in enrollment.plan.steps[:150]]
    return "\n".join(lines)


def _row(enrollment: Enrollment, step: PlannedStep, state: State, today: date | None) -> str:
    """A step's line; `today` is the date of the one that is reached next."""
    if step.number in enrollment.over:
        when = _SIGNS[enrollment.over[step.number]]
    elif step.number == enrollment.step and enrollment.due_at is not None:
        when = f"→ now ({state.replace('_', ' ')}), {_local(enrollment, enrollment.due_at)}"
    elif enrollment.outcome is not None:
        when = "not reached"
    elif step.number in enrollment.skips:
        when = "to be left out"
    else:
        place = calendar.slot(enrollment.plan, enrollment.standing, step)
        if today is not None and place.on < today:  # a step before it was moved past its day
            return f"| {step.number} | {summary(step)} | once step {step.number - 1} is over |"
        when = _date(place.on)
        if place.clock is not None:
            when += f" at {place.clock.isoformat('minutes')}"
    return f"| {step.number} | {summary(step)} | {when} |"


def _local(enrollment: Enrollment, at: datetime) -> str:
    there = at.astimezone(enrollment.plan.zone)
    clock = there.time().isoformat("minutes")
    return f"{_date(there)} {clock} {enrollment.plan.zone.key}"


def _date(on: date) -> str:
    """As `%a %d %b %Y` gives it, without `strftime`.

    That imports a module at each call, which the sandbox checks each time: a third of the cost of
    a replay (see docs/measured.md).
    """
    return f"{_WEEKDAYS[on.weekday()]} {on.day:02} {_MONTHS[on.month - 1]} {on.year}"
