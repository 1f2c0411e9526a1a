"""The rules between the days and steps of a campaign file (SPEC section 2)."""

from collections.abc import Sequence

from drumbeat.campaign.faults import Notes
from drumbeat.campaign.model import Send, Window
from drumbeat.campaign.step_reading import StepRead
from drumbeat.campaign.yaml_source import Node


def check_days(days: Sequence[tuple[int | None, Node]], notes: Notes) -> None:
    """Note days that do not begin with 1 or do not ascend.

    Args:
        days: The number of each day, None where it has a fault, and where it stands.
        notes: Where faults are noted.
    """
    before: tuple[int, Node] | None = None
    for position, (day, node) in enumerate(days):
        if day is None:
            continue
        if position == 0 and day != 1:
            notes.fault(node.place, f"the first day is to be 1, not {day}")
        if before is not None and day <= before[0]:
            notes.fault(
                node.place,
                f"days are to ascend, and {day} does not come after {before[0]} in line "
                f"{before[1].place.line}: "
                + ("put both days' steps into one day" if day == before[0] else "order them"),
            )
        before = day, node


def check_steps(steps: Sequence[StepRead], window: Window | None, notes: Notes) -> None:
    """Note what a step may not be, or should not be, because of where it stands."""
    first_email_day: int | None = None
    for number, step in enumerate(steps):
        previous = steps[number - 1] if number else None
        has_earlier = first_email_day is not None and first_email_day < step.day_position
        _check_send(step, previous, has_earlier, notes)
        _check_follow_up(step, previous, notes)
        _check_window(step, window, notes)
        if first_email_day is None and step.kind in ("email", None):
            first_email_day = step.day_position
    _check_order(steps, notes)


def _check_send(step: StepRead, previous: StepRead | None, has_earlier: bool, notes: Notes) -> None:
    if step.send_place is None:
        return
    if step.send is Send.CHOOSE and previous is not None:
        notes.fault(
            step.send_place,
            "'send: choose' is for the first step of the first day only: write a time as in "
            "'09:30', same_time or task",
        )
    if step.send is not Send.SAME_TIME:
        return
    if previous is None:
        notes.fault(
            step.send_place,
            "'send: same_time' has no email before it on the first step: write choose, a time as "
            "in '09:30' or task",
        )
    elif step.day_position == 0:
        notes.warn(
            step.send_place, "'send: same_time' on the first day sends at once, when it is reached"
        )
    elif not has_earlier:
        notes.fault(
            step.send_place,
            "'send: same_time' needs an email on an earlier day, whose time it takes: write a time "
            "as in '09:30' or task",
        )


def _check_follow_up(step: StepRead, previous: StepRead | None, notes: Notes) -> None:
    if not step.follow_up or step.follow_up_place is None:
        return
    if previous is None:
        notes.fault(
            step.follow_up_place,
            "'follow_up' has no email before it on the first step: leave it out",
        )
        return
    if previous.kind not in ("email", None):
        notes.fault(
            step.follow_up_place,
            f"'follow_up' needs an email as the step directly before, and that is a step "
            f"'{previous.kind}' (line {previous.place.line}): leave it out, or move the step",
        )
    elif previous.template is not None and previous.template.prompts:
        notes.warn(
            step.follow_up_place,
            f"the email before, {previous.template.label}, has a field prompt: the copy that is "
            "appended leaves the prompt out",
        )


def _check_window(step: StepRead, window: Window | None, notes: Notes) -> None:
    at = step.send_time
    if at is None or step.send_place is None or window is None:
        return
    if not window.start <= at <= window.end:
        notes.fault(
            step.send_place,
            f"'send' at {at:%H:%M} is outside the sending window: write a time from "
            f"{window.start:%H:%M} to {window.end:%H:%M}",
        )


def _check_order(steps: Sequence[StepRead], notes: Notes) -> None:
    """Note fixed times of one day that run backwards."""
    before: StepRead | None = None
    for step in steps:
        if step.send_time is None or step.send_place is None:
            continue
        if (
            before is not None
            and before.send_time is not None
            and before.send_place is not None
            and before.day_position == step.day_position
            and step.send_time < before.send_time
        ):
            notes.fault(
                step.send_place,
                f"the times of this day run backwards: {step.send_time:%H:%M} comes after "
                f"{before.send_time:%H:%M} in line {before.send_place.line}: write a later time",
            )
        before = step
