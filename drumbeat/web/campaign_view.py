"""What the page of a campaign draws: its figures, its calendar, its steps with their funnel."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import holidays
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.actions import access
from drumbeat.actions.campaigns import StepCounts, step_counts
from drumbeat.actions.signing import User
from drumbeat.campaign import calendar
from drumbeat.campaign.calendar import Plan
from drumbeat.campaign.model import Campaign, EmailStep, Priority, Send
from drumbeat.campaign.planning import make_plan
from drumbeat.campaign.preview import preview
from drumbeat.campaign.states import Outcome, State
from drumbeat.store.lists import campaigns as lists
from drumbeat.store.users import Role
from drumbeat.web.texts import texts

FRESH_FOR = timedelta(seconds=5)
"""Figures are counted anew after that: none is more than 10 s old."""
MOST_IN_ONE_ROW = 14
"""Days of a calendar strip; of a longer one, days without a step are drawn together."""

_RUNNING = (
    State.SLEEPING,
    State.TASK,
    State.SENDING,
    State.BLOCKED,
    State.FAILED,
    State.IN_DOUBT,
    State.HELD,
)
_ENDED = tuple(Outcome)


@dataclass(frozen=True, slots=True)
class Figures:
    """What is counted of a campaign."""

    steps: dict[int, StepCounts]
    running: tuple[tuple[State, int], ...]
    """Every state, in the order in which they are drawn."""
    ended: tuple[tuple[Outcome, int], ...]

    @property
    def running_total(self) -> int:
        """How many run."""
        return sum(number for _, number in self.running)

    @property
    def ended_total(self) -> int:
        """How many have ended."""
        return sum(number for _, number in self.ended)

    @property
    def enrolled(self) -> int:
        """All enrollments."""
        return self.running_total + self.ended_total

    @property
    def successes(self) -> int:
        """How many ended well."""
        return sum(number for outcome, number in self.ended if outcome in lists.SUCCESSES)

    def all_steps(self, what: str) -> int:
        """A figure of `StepCounts`, of all steps together."""
        return sum(int(getattr(one, what)) for one in self.steps.values())


class FigureCache:
    """Figures that are still fresh, of whole campaigns and of one rep's people."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[float, Figures]] = {}

    async def read(self, tx: AsyncConnection, user: User, slug: str, now: datetime) -> Figures:
        """A campaign's figures, as far as the user may see its people."""
        sees_all = user.may_as(Role.MANAGER)
        key = (slug, "" if sees_all else user.id)
        at, figures = self._known.get(key, (0.0, None))
        if figures is not None and time.monotonic() - at < FRESH_FOR.total_seconds():
            return figures
        own = access.own_enrollments(user)
        steps = await step_counts(tx, slug, now, None if sees_all else own)
        figures = _figures(steps, await lists.standings(tx, own, slug))
        if len(self._known) > 1000:
            self._known.clear()
        self._known[key] = (time.monotonic(), figures)
        return figures

    def forget(self, slug: str) -> None:
        """What was counted of a campaign is old: something was done to it."""
        for key in [key for key in self._known if key[0] == slug]:
            del self._known[key]


def _figures(steps: dict[int, StepCounts], rows: Iterable[Row[Any]]) -> Figures:
    states = dict.fromkeys(_RUNNING, 0)
    outcomes = dict.fromkeys(_ENDED, 0)
    for row in rows:
        if row.state == State.ENDED:
            outcomes[Outcome(row.outcome or Outcome.REMOVED)] += row.number
        else:
            states[State(row.state)] += row.number
    return Figures(steps, tuple(states.items()), tuple(outcomes.items()))


# Steps


@dataclass(frozen=True, slots=True)
class StepShown:
    """A step with its funnel; the parts are of everybody who was enrolled, in percent."""

    number: int
    kind: str
    title: str
    when: str
    is_email: bool
    counts: StepCounts
    reached: float
    done: float
    opened: float
    replied: float


def steps_shown(campaign: Campaign | None, figures: Figures) -> list[StepShown]:
    """The steps of the newest version, and those that only an older one has."""
    t = texts()
    known = {} if campaign is None else {number: (day, s) for number, day, s in campaign.steps}
    numbers = sorted(known.keys() | figures.steps.keys())
    reached = _reached(numbers, figures.steps)
    most = max(figures.enrolled, *reached.values(), 1) if reached else 1
    shown = []
    for number in numbers:
        counts = figures.steps.get(number, StepCounts(number))
        day, step = known.get(number, (0, None))
        is_email = isinstance(step, EmailStep) if step is not None else counts.sent > 0
        shown.append(
            StepShown(
                number=number,
                kind=step.kind if step is not None else "email" if is_email else "custom",
                title=step.called if step is not None else t("campaigns.older_step"),
                when=_when(day, step) if step is not None else "",
                is_email=is_email,
                counts=counts,
                reached=_part(reached[number], most),
                done=_part(counts.sent if is_email else counts.done, most),
                opened=_part(counts.opened, most),
                replied=_part(counts.replied, most),
            )
        )
    return shown


def _reached(numbers: Sequence[int], steps: dict[int, StepCounts]) -> dict[int, int]:
    """How many have come to each step: whoever came to a later one has come to it as well."""
    reached: dict[int, int] = {}
    later = 0
    for number in reversed(numbers):
        one = steps.get(number, StepCounts(number))
        here = one.waiting + one.due + max(one.sent, one.done) + one.skipped
        later = reached[number] = max(here, later)
    return reached


def _part(number: int, most: int) -> float:
    return round(100 * number / most, 2)


def _when(day: int, step: Any) -> str:
    t = texts()
    words = [t("campaigns.day", day=day)]
    if isinstance(step, EmailStep):
        words.append(
            f"{step.send_time:%H:%M}"
            if step.send is Send.FIXED
            else t(f"campaigns.send_{step.send.value}")
        )
        if step.follow_up:
            words.append(t("campaigns.follow_up"))
    if step.priority is Priority.HIGH:
        words.append(t("campaigns.high"))
    return ", ".join(words)


# The calendar


@dataclass(frozen=True, slots=True)
class CalendarStep:
    """A step on its day."""

    number: int
    kind: str
    title: str
    is_automatic: bool
    at: str | None
    """Its clock time; None: it has none, or it is not known yet."""


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """A day of the strip, or several without a step."""

    on: date
    day: int | None
    """The campaign day; None: no sending day."""
    off: str | None
    """Why nothing is sent: weekend, or the holiday's name."""
    is_today: bool
    steps: tuple[CalendarStep, ...] = ()
    until: date | None = None
    """The last one, where several days are drawn together."""


@dataclass(frozen=True, slots=True)
class CalendarShown:
    """The strip of days for somebody who would be enrolled now."""

    days: tuple[CalendarDay, ...]
    zone: ZoneInfo
    kickoff: datetime
    unknown: tuple[CalendarStep, ...]
    """Steps whose time hangs on when a rep sends an email."""


def calendar_shown(campaign: Campaign, now: datetime, rep_zone: str | None) -> CalendarShown:
    """The calendar of a campaign for a kickoff now.

    Raises:
        LaunchError: The rep's zone is unknown.
    """
    first = campaign.steps[0][2]
    is_chosen = isinstance(first, EmailStep) and first.send is Send.CHOOSE
    plan = make_plan(
        campaign,
        kickoff=now,
        person_zone=None,
        rep_zone=rep_zone,
        send_at="now" if is_chosen else None,
    )
    by_date: dict[date, list[CalendarStep]] = {}
    unknown: list[CalendarStep] = []
    for one in preview(plan):
        step = campaign.step(one.step)
        is_automatic = one.action == "send"
        clock = f"{one.at:%H:%M}" if one.at is not None and is_automatic else None
        shown = CalendarStep(one.step, one.kind, step.called, is_automatic, clock)
        if one.at is None:
            unknown.append(shown)
        else:
            by_date.setdefault(one.at.date(), []).append(shown)
    today = now.astimezone(plan.zone).date()
    last = max([today, *by_date])
    numbers = _numbers(plan)
    off = _holiday_names(campaign, plan, today.year, last.year)
    days = [
        CalendarDay(
            on=on,
            day=numbers.get(on),
            off=_off(plan, on, off),
            is_today=on == today,
            steps=tuple(by_date.get(on, ())),
        )
        for on in (today + timedelta(days=n) for n in range((last - today).days + 1))
    ]
    if len(days) > MOST_IN_ONE_ROW:
        days = _drawn_together(days)
    return CalendarShown(tuple(days), plan.zone, plan.kickoff, tuple(unknown))


def _numbers(plan: Plan) -> dict[date, int]:
    standing = calendar.begin(plan)
    found: dict[date, int] = {}
    for day in range(1, plan.steps[-1].day + 1):
        found.setdefault(calendar.date_of_day(plan, standing, day), day)
    return found


def _off(plan: Plan, on: date, names: dict[date, str]) -> str | None:
    if plan.skip_weekends and on.weekday() >= 5:
        return texts()("campaigns.weekend")
    if on in plan.closed:
        return names.get(on) or texts()("campaigns.holiday")
    return None


def _holiday_names(campaign: Campaign, plan: Plan, first: int, last: int) -> dict[date, str]:
    found: dict[date, str] = {}
    for country in campaign.settings.holiday_countries:
        named = holidays.country_holidays(country, years=range(first, last + 1))
        found |= {on: name for on, name in named.items() if on in plan.closed}
    return found


def _drawn_together(days: Sequence[CalendarDay]) -> list[CalendarDay]:
    """The days with a step, and the gaps between them as one each."""
    found: list[CalendarDay] = []
    gap: list[CalendarDay] = []

    def close() -> None:
        if gap:
            last = gap[-1].on if len(gap) > 1 else None
            found.append(
                CalendarDay(gap[0].on, None if last else gap[0].day, gap[0].off, False, until=last)
            )
            gap.clear()

    for day in days:
        if day.steps or day.is_today:
            close()
            found.append(day)
        else:
            gap.append(day)
    close()
    return found
