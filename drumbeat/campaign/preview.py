"""The whole calendar of one enrollment, as far as it can be known beforehand (SPEC section 8)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal
from zoneinfo import ZoneInfo

from drumbeat.campaign import calendar
from drumbeat.campaign.calendar import Due, Kind, Plan, PlannedStep, Standing
from drumbeat.campaign.model import Send
from drumbeat.campaign.planning import LaunchError

Action = Literal["send", "task"]

NOTHING_DONE: Mapping[int, datetime] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PreviewStep:
    """When a step is to run."""

    step: int
    day: int
    kind: Kind
    action: Action
    at: datetime | None
    """When it is sent or opens, in the plan's zone; None: hangs on something not yet known."""
    follow_up: bool

    def as_json(self) -> dict[str, object]:
        """The object that `preview --json` prints; `at` is ISO 8601 with the zone's offset."""
        return {
            "step": self.step,
            "day": self.day,
            "kind": self.kind,
            "action": self.action,
            "at": None if self.at is None else self.at.isoformat(),
            "follow_up": self.follow_up,
        }


def preview(
    plan: Plan,
    done: Mapping[int, datetime] = NOTHING_DONE,
    rep_zone: ZoneInfo | None = None,
) -> list[PreviewStep]:
    """When every step is sent or opens, if all goes as planned.

    A task that is not in `done` counts as over the moment it opens. The clock time of an email that
    is sent so is not known: neither is what copies it, nor the rest of that campaign day; later
    days are computed as if the copying email left on its own date.

    Args:
        plan: What was fixed at kickoff.
        done: Step -> the moment at which this task is assumed to be over; an email's was sent then.
        rep_zone: Where the rep is: a task is on time while its date lasts there, too (R9).

    Raises:
        LaunchError: `done` names an automatic email, no step at all, or a moment before its task
            opens.
    """
    _check_done(plan, done)
    standing = calendar.begin(plan)
    ready_at = plan.kickoff
    walked: list[PreviewStep] = []
    unknown: set[int] = set()  # the emails whose clock time is not known
    unknown_day = 0  # the campaign day that hangs on one of them
    for step in plan.steps:
        if _copies_unknown(plan, standing, step, unknown):
            unknown_day = step.day
        was = None
        if step.day == unknown_day:
            own_on = calendar.date_of_day(plan, standing, step.day)
            ready_at = max(ready_at, calendar.resolve(own_on, calendar.MIDNIGHT, plan.zone))
        else:
            was = calendar.due(plan, standing, step, ready_at)
            ready_at = was.at
        walked.append(_shown(plan, step, was))

        done_at = done.get(step.number)
        if done_at is not None:
            if done_at < ready_at:
                raise LaunchError(_too_early(plan, step, done_at, ready_at))
            ready_at = done_at.astimezone(UTC)
        elif step.kind == "email" and (was is None or step.is_task):
            unknown.add(step.number)
        if was is not None or done_at is not None:
            standing = calendar.after(
                plan,
                standing,
                step,
                ready_at,
                "sent" if step.is_automatic else "done",
                was=was,
                rep_zone=rep_zone,
            )
    return walked


def _copies_unknown(
    plan: Plan, standing: Standing, step: PlannedStep, unknown: Collection[int]
) -> bool:
    """Whether a step copies a clock time that is not known."""
    if not unknown or step.send is not Send.SAME_TIME:
        return False
    source = calendar.copied_email(plan, standing, step)
    return source is not None and source.number in unknown


def _shown(plan: Plan, step: PlannedStep, due: Due | None) -> PreviewStep:
    return PreviewStep(
        step=step.number,
        day=step.day,
        kind=step.kind,
        action="task" if step.is_task else "send",
        at=None if due is None else due.at.astimezone(plan.zone),
        follow_up=step.follow_up,
    )


def _check_done(plan: Plan, done: Mapping[int, datetime]) -> None:
    for number in done:
        if not 1 <= number <= len(plan.steps):
            raise LaunchError(
                f"there is no step {number}: the campaign's steps are 1 to {len(plan.steps)}"
            )
        if plan.step(number).is_automatic:
            raise LaunchError(
                f"step {number} is an email that Drumbeat sends by itself: only a task can be done"
            )


def _too_early(plan: Plan, step: PlannedStep, done_at: datetime, opens_at: datetime) -> str:
    return (
        f"step {step.number} cannot be done at {done_at.astimezone(plan.zone).isoformat()}:"
        f" its task does not open before {opens_at.astimezone(plan.zone).isoformat()}"
    )
