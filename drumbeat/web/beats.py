"""The beat track: a bar a step, tall for emails, short for tasks, a gap between days."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from markupsafe import Markup

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


def track(bars: Iterable[Beat], label: str) -> Markup:
    """The beat track as SVG; the label says it in words."""
    return _track(tuple(bars), label)


@lru_cache(maxsize=2_000)
def _track(bars: tuple[Beat, ...], label: str) -> Markup:
    """Drawn once for all who stand alike: a list has fifty of them.

    A bar is 3 pixels wide; its outline, 2 pixels, has round corners.
    """
    paths: dict[str, list[str]] = {}
    x, day = 0, None
    for bar in bars:
        if day is not None:
            x += 5 if bar.day == day else 8
        day = bar.day
        if bar.state == "skip":
            drawn = f"M{x} 10.5h3v1.5h-3z"
        else:
            drawn = f"M{x + 1} 1h1v10h-1z" if bar.is_email else f"M{x + 1} 7h1v4h-1z"
        paths.setdefault(bar.state, []).append(drawn)
    width = x + 3
    drawing = Markup("").join(
        Markup('<path class="{}" d="{}"/>').format(state, "".join(drawn))
        for state, drawn in paths.items()
    )
    return Markup(
        '<svg class="beats" width="{0}" height="12" viewBox="0 0 {0} 12" role="img" '
        'aria-label="{1}">{2}</svg>'
    ).format(width, label, drawing)
