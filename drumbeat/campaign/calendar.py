"""When each step is due: rules R1 to R11 of SPEC section 3, and nothing else.

Everything here is a pure function of a `Plan` (what was fixed at kickoff) and a `Standing` (what
has happened since). Moments go in and come out in UTC; dates and clock times are local to the
plan's zone. The workflow, the send path, the preview and the Command Center all ask these
functions.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from drumbeat.campaign.model import Frozen, Send, Window

MIDNIGHT = time(0)
ONE_DAY = timedelta(days=1)
ONE_MINUTE = timedelta(minutes=1)

Kind = Literal["email", "call", "inmail", "custom"]


class PlannedStep(Frozen):
    """What the calendar and the workflow need to know of a step; no text that a person reads."""

    number: int
    """From 1 through the whole campaign."""
    day: int
    """The campaign day, from 1."""
    kind: Kind
    send: Send | None = None
    """For emails only."""
    send_time: time | None = None
    """Local clock time, the launcher's where one was given; set exactly where `send` is FIXED."""
    follow_up: bool = False
    label: str = ""
    """What it is called in the Temporal UI: a template's name or a kind, never personal data."""

    @property
    def is_task(self) -> bool:
        """Whether a rep has to do it."""
        return self.send is None or self.send is Send.TASK

    @property
    def is_automatic(self) -> bool:
        """Whether Drumbeat sends it by itself."""
        return not self.is_task


class Plan(Frozen):
    """An enrollment's steps and everything that was fixed for them at kickoff."""

    steps: tuple[PlannedStep, ...]
    zone: ZoneInfo
    """R1: all dates and clock times are local to it."""
    skip_weekends: bool = False
    holidays: tuple[date, ...] = ()
    """R2: the dates that are no sending days, weekends aside."""
    window: Window | None = None
    kickoff: datetime
    """The moment the enrollment starts, UTC."""
    chosen: datetime | None = None
    """The moment the launcher chose for the first email, UTC; set exactly where it is CHOOSE."""

    @cached_property
    def closed(self) -> frozenset[date]:
        """The holidays, for looking up."""
        return frozenset(self.holidays)

    @cached_property
    def closed_in_order(self) -> tuple[date, ...]:
        """The holidays in order, without those on weekends that are skipped anyway."""
        days = 5 if self.skip_weekends else 7
        return tuple(sorted(on for on in self.closed if on.weekday() < days))

    def step(self, number: int) -> PlannedStep:
        """The step with that number, from 1."""
        return self.steps[number - 1]


class Standing(Frozen):
    """What has happened that the calendar must know; starts as `begin(plan)`."""

    anchor_day: int
    """The campaign day that lies on `anchor_date`; later days count their distance from it (R9)."""
    anchor_date: date
    clocks: Mapping[int, time] = Field(default_factory=dict)
    """Step -> local clock time, of the emails that are over and were not skipped (R6)."""
    skipped: frozenset[int] = frozenset()
    """The emails that are over and were skipped."""
    moved: Mapping[int, datetime] = Field(default_factory=dict)
    """Step -> the moment (UTC) to which somebody moved an automatic email."""
    over_at: datetime | None = None
    """When the last step that is over was over, UTC; at kickoff, the kickoff."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A step's own place in the calendar, whatever came before it."""

    on: date
    """The date of its campaign day."""
    clock: time | None
    """Its planned clock time, before R11; None: no time of its own, due when it is reached."""
    at: datetime
    """The moment of both, UTC; the start of the date where it has no time of its own."""


@dataclass(frozen=True, slots=True)
class Due:
    """When a step is to run, given when it was reached."""

    at: datetime
    """UTC."""
    on: date
    """The local date that it takes; a task's due date."""


def local_date(moment: datetime, zone: ZoneInfo) -> date:
    """The date on which `moment` falls in `zone`."""
    return moment.astimezone(zone).date()


def resolve(on: date, clock: time, zone: ZoneInfo) -> datetime:
    """The instant (UTC) of a local date and clock time (R11).

    A time that does not exist moves forward by the length of the gap; one that exists twice is the
    first. Both are what `fold=0` means once converted to UTC.

    >>> resolve(date(2027, 3, 14), time(2, 30), ZoneInfo("America/New_York")).isoformat()
    '2027-03-14T07:30:00+00:00'
    """
    return datetime.combine(on, clock.replace(fold=0), tzinfo=zone).astimezone(UTC)


def is_sending_day(plan: Plan, on: date) -> bool:
    """Whether automatic emails may leave on that date (R2)."""
    if plan.skip_weekends and on.weekday() >= 5:
        return False
    return on not in plan.closed


def next_sending_day(plan: Plan, on: date) -> date:
    """The date itself if it is a sending day, else the next one that is (R2)."""
    while not is_sending_day(plan, on):
        on += ONE_DAY
    return on


def add_sending_days(plan: Plan, on: date, days: int) -> date:
    """The `days`-th sending day after `on` (R4); `on` itself for 0."""
    closed = plan.closed_in_order
    while days > 0:
        to = _add_weekdays(on, days) if plan.skip_weekends else on + timedelta(days=days)
        # As many days more as holidays were counted on the way.
        days = bisect_right(closed, to) - bisect_right(closed, on) if closed else 0
        on = to
    return on


def _add_weekdays(on: date, days: int) -> date:
    """The `days`-th day from Monday to Friday after `on`, for 1 and more.

    >>> _add_weekdays(date(2026, 11, 28), 1), _add_weekdays(date(2026, 11, 26), 2)
    (datetime.date(2026, 11, 30), datetime.date(2026, 11, 30))
    """
    weekday = on.weekday()
    if weekday > 4:  # counted from the Friday before
        on -= timedelta(days=weekday - 4)
        weekday = 4
    weeks, rest = divmod(days, 5)
    return on + timedelta(days=7 * weeks + rest + (2 if weekday + rest > 4 else 0))


def window_on(window: Window, on: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The sending window of a date: its first instant, and the first after it (UTC) (R10).

    Both ends belong to it, and they are minutes: what is due at 18:00 and leaves half a second
    later keeps a window that ends at 18:00.
    """
    end = resolve(on, window.end, zone)
    # A gap can push a start that lies in it behind an end that lies after it.
    start = min(resolve(on, window.start, zone), end)
    return start, end + ONE_MINUTE


def may_leave(plan: Plan, at: datetime) -> datetime:
    """The earliest moment (UTC), `at` or later, at which an automatic email may leave (R2, R10)."""
    on = local_date(at, plan.zone)
    while True:
        if is_sending_day(plan, on):
            if plan.window is None:
                return at
            start, end = window_on(plan.window, on, plan.zone)
            if at < start:
                return start
            if at < end:
                return at
        on = next_sending_day(plan, on + ONE_DAY)
        at = resolve(on, plan.window.start if plan.window else MIDNIGHT, plan.zone)
        on = local_date(at, plan.zone)  # another one where a gap swallows midnight or the date


def in_window(plan: Plan, clock: time) -> time:
    """The clock time, or the window's start where it lies outside the window (R6)."""
    window = plan.window
    if window and not window.start <= clock.replace(second=0, microsecond=0) <= window.end:
        return window.start
    return clock


def begin(plan: Plan) -> Standing:
    """Where the calendar stands at kickoff: day 1 has its date (R3)."""
    day_one = next_sending_day(plan, _wanted_day_one(plan))
    return Standing(anchor_day=1, anchor_date=day_one, over_at=plan.kickoff)


def _wanted_day_one(plan: Plan) -> date:
    """R3, before sending days are looked at."""
    kickoff_date = local_date(plan.kickoff, plan.zone)
    first = plan.steps[0]
    if first.send is Send.CHOOSE:
        if plan.chosen is None:
            raise ValueError("the first email's moment must be chosen: its step says `choose`")
        return local_date(plan.chosen, plan.zone)
    if first.send is Send.FIXED and first.send_time is not None:
        to_come = resolve(kickoff_date, first.send_time, plan.zone) >= plan.kickoff
        return kickoff_date if to_come else kickoff_date + ONE_DAY
    return kickoff_date


def date_of_day(plan: Plan, standing: Standing, day: int) -> date:
    """The date of a campaign day (R4), after the slips so far (R9)."""
    return add_sending_days(plan, standing.anchor_date, max(0, day - standing.anchor_day))


def slot(plan: Plan, standing: Standing, step: PlannedStep) -> Slot:
    """The step's own place in the calendar (R4 to R7)."""
    on = date_of_day(plan, standing, step.day)
    moved = standing.moved.get(step.number)
    if moved is not None:
        local = moved.astimezone(plan.zone)
        return Slot(on, local.time(), moved)
    if step.send is Send.CHOOSE and plan.chosen is not None:
        local = plan.chosen.astimezone(plan.zone)
        # Chosen with an offset it is that very instant, also where its clock time comes twice.
        at = plan.chosen if local.date() == on else resolve(on, local.time(), plan.zone)
        return Slot(on, local.time(), at)
    clock = planned_clock(plan, standing, step)
    return Slot(on, clock, resolve(on, clock or MIDNIGHT, plan.zone))


def planned_clock(plan: Plan, standing: Standing, step: PlannedStep) -> time | None:
    """The clock time that a step has of its own (R5, R6); None: it is due when it is reached.

    Asked of a step that is not reached yet, it copies what is planned for the email before it.
    """
    if step.send is Send.FIXED:
        return step.send_time
    if step.send is not Send.SAME_TIME:
        return None
    source = copied_email(plan, standing, step)
    while source is not None and _copies_in_turn(standing, source):
        source = copied_email(plan, standing, source)
    if source is None:
        return None
    clock = standing.clocks.get(source.number)
    if clock is None and source.is_automatic:
        clock = slot(plan, standing, source).clock
    return None if clock is None else in_window(plan, clock)


def _copies_in_turn(standing: Standing, step: PlannedStep) -> bool:
    """Whether an email that others copy has no clock time yet but that of the one before it."""
    is_settled = step.number in standing.clocks or step.number in standing.moved
    return step.send is Send.SAME_TIME and not is_settled


def copied_email(plan: Plan, standing: Standing, step: PlannedStep) -> PlannedStep | None:
    """The email whose clock time a `same_time` step copies: the last on an earlier day (R6)."""
    for earlier in reversed(plan.steps[: step.number - 1]):
        if (
            earlier.kind == "email"
            and earlier.day < step.day
            and earlier.number not in standing.skipped
        ):
            return earlier
    return None


def due(plan: Plan, standing: Standing, step: PlannedStep, ready_at: datetime) -> Due:
    """When a step runs if it can run from `ready_at` (UTC) on: when all before it was over (R8)."""
    own = slot(plan, standing, step)
    return later(plan, step, own.clock, _taking(plan, step, own.clock, own.at, own.on), ready_at)


def later(plan: Plan, step: PlannedStep, clock: time | None, was: Due, ready_at: datetime) -> Due:
    """When a step runs that was due at `was` and can run from `ready_at` (UTC) on (R9, R10).

    Asked again with its own answer it changes nothing. `clock` is the step's planned clock time.
    """
    if ready_at <= was.at:
        return was
    today = local_date(ready_at, plan.zone)
    if today <= was.on:
        return _taking(plan, step, clock, ready_at, was.on)
    on = next_sending_day(plan, today)
    at = max(ready_at, _clock_on(plan, clock, on))
    return _taking(plan, step, clock, at, on)


def _taking(plan: Plan, step: PlannedStep, clock: time | None, at: datetime, on: date) -> Due:
    """A step that belongs to `on` and whose time comes at `at`; an email as soon as it may leave.

    The date that it takes is later than `on` where it has to wait for another day.
    """
    if step.is_automatic:
        date_of_at = local_date(at, plan.zone)
        if not is_sending_day(plan, date_of_at):
            # Moved there by a person, or by a gap over midnight: R9 gives the next day's time.
            at = _clock_on(plan, clock, next_sending_day(plan, date_of_at))
        at = may_leave(plan, at)
    return Due(at, max(on, local_date(at, plan.zone)))


def _clock_on(plan: Plan, clock: time | None, on: date) -> datetime:
    """The moment (UTC) of a step's clock time on a date that it takes late (R9)."""
    return resolve(on, MIDNIGHT if clock is None else in_window(plan, clock), plan.zone)


Over = Literal["sent", "sent_by_rep", "done", "skipped"]
"""How a step came to be over; `sent_by_rep` also where the rep sent it elsewhere."""


def after(
    plan: Plan,
    standing: Standing,
    step: PlannedStep,
    over_at: datetime,
    how: Over,
    *,
    was: Due | None = None,
    rep_zone: ZoneInfo | None = None,
) -> Standing:
    """Where the calendar stands once a step is over (R6, R9).

    Args:
        plan: The enrollment's plan.
        standing: Where the calendar stood.
        step: The step that is over.
        over_at: When it was over, UTC.
        how: How it came to be over.
        was: When it was due at last; None where it was over before its time.
        rep_zone: Where the task's rep is: a task is on time while its date lasts there, too.
    """
    own_on = date_of_day(plan, standing, step.day)
    over_on = local_date(over_at, plan.zone)
    if step.is_task and rep_zone is not None and over_on > own_on:
        where_rep_is = local_date(over_at, rep_zone)
        if where_rep_is <= own_on:
            over_on = own_on
        elif was is not None and where_rep_is <= was.on < over_on:
            over_on = was.on

    changes: dict[str, object] = {"over_at": over_at}
    if over_on > own_on:
        changes["anchor_day"] = step.day
        changes["anchor_date"] = next_sending_day(plan, over_on)
    if step.kind == "email":
        if how == "skipped":
            changes["skipped"] = standing.skipped | {step.number}
        else:
            clock = _clock_to_copy(plan, standing, step, over_at, how)
            changes["clocks"] = {**standing.clocks, step.number: clock}
    return standing.model_copy(update=changes)


def _clock_to_copy(
    plan: Plan, standing: Standing, step: PlannedStep, over_at: datetime, how: Over
) -> time:
    """The clock time that later `same_time` emails copy from this one (R6)."""
    if step.is_task or how == "sent_by_rep":
        return over_at.astimezone(plan.zone).time().replace(second=0, microsecond=0)
    own = slot(plan, standing, step)
    if own.clock is not None:
        return own.clock
    reached = max(standing.over_at or over_at, own.at)
    return reached.astimezone(plan.zone).time()


def move(standing: Standing, step: PlannedStep, at: datetime) -> Standing:
    """The calendar with an automatic email moved to the moment `at` (UTC)."""
    return standing.model_copy(update={"moved": {**standing.moved, step.number: at}})


def open_time(plan: Plan, start: datetime, end: datetime) -> timedelta:
    """How much of the time between two moments (UTC) an automatic email may leave in (R2, R10)."""
    total = timedelta()
    at = may_leave(plan, start)
    while at < end:
        on = local_date(at, plan.zone)
        if plan.window is None:
            closes = resolve(on + ONE_DAY, MIDNIGHT, plan.zone)
        else:
            _, closes = window_on(plan.window, on, plan.zone)
        total += min(closes, end) - at
        at = may_leave(plan, closes)
    return total
