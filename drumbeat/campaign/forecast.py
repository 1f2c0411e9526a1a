"""Which tasks an enrollment will open in the next days, if all goes as planned."""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from drumbeat.campaign import calendar
from drumbeat.campaign.calendar import Plan, Standing


@dataclass(frozen=True, slots=True)
class Coming:
    """A task that is to open."""

    step: int
    at: datetime
    """UTC."""
    due: date
    """Its due date, in the plan's zone."""


def coming_tasks(
    plan: Plan,
    standing: Standing,
    step: int,
    next_at: datetime,
    until: datetime,
    rep_zone: ZoneInfo | None = None,
) -> list[Coming]:
    """The tasks that open before a moment; each counts as over when it opens.

    Args:
        plan: What was fixed at kickoff.
        standing: Where the calendar stands.
        step: The step that waits for its time.
        next_at: When it runs, UTC: later than the calendar says where it waits for a place.
        until: UTC.
        rep_zone: Where the rep is (R9).
    """
    found: list[Coming] = []
    ready_at = max(next_at, standing.over_at or plan.kickoff)
    for planned in plan.steps[step - 1 :]:
        was = calendar.due(plan, standing, planned, ready_at)
        if was.at > until:
            break
        if planned.is_task:
            found.append(Coming(planned.number, was.at, was.on))
        ready_at = was.at
        standing = calendar.after(
            plan,
            standing,
            planned,
            ready_at,
            "done" if planned.is_task else "sent",
            was=was,
            rep_zone=rep_zone,
        )
    return found
