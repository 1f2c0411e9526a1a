"""The beat track: a bar a step, tall for emails, short for tasks, a gap between days."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from drumbeat.campaign.calendar import Plan

BeatState = Literal["done", "now", "next", "skip"]


@dataclass(frozen=True, slots=True)
class Beat:
    """One bar."""

    day: int
    is_email: bool
    state: BeatState


def beats(plan: Plan, now: int | None, skipped: Collection[int] = ()) -> tuple[Beat, ...]:
    """The bars of an enrollment.

    Args:
        plan: Its plan.
        now: The step at hand; None: it has ended, or not begun, so that no bar is "now".
        skipped: Steps that were left out.
    """

    def state(number: int) -> BeatState:
        if number in skipped:
            return "skip"
        if now is None or number > now:
            return "next"
        return "now" if number == now else "done"

    return tuple(Beat(step.day, step.kind == "email", state(step.number)) for step in plan.steps)
