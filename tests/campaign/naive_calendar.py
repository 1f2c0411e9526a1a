"""A second calendar, written from the text of SPEC section 3 and 8 alone: slow, minute by minute.

It shares no code with `drumbeat.campaign.calendar`, not even the way from a local time to an
instant, so that both can only agree where both follow the text. It knows whole minutes only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


@dataclass
class NaiveStep:
    day: int
    kind: str
    send: str | None = None  # "choose", "fixed", "same_time", "task"; None for calls and the like
    clock: time | None = None

    @property
    def is_task(self) -> bool:
        return self.send in (None, "task")


@dataclass
class NaiveCampaign:
    steps: list[NaiveStep]
    zone: ZoneInfo
    skip_weekends: bool
    holidays: set[date]
    window: tuple[time, time] | None
    kickoff: datetime
    chosen: datetime | None
    done: Mapping[int, datetime] = field(default_factory=dict)
    rep_zone: ZoneInfo | None = None
    found: dict[tuple[date, time], datetime] = field(default_factory=dict)

    # R1, R11

    def wall(self, instant: datetime) -> datetime:
        return instant.astimezone(self.zone).replace(tzinfo=None)

    def instant(self, on: date, clock: time) -> datetime:
        """The first instant that shows this wall time; a missing one is moved by the gap."""
        if (on, clock) not in self.found:
            self.found[on, clock] = self.search(on, clock)
        return self.found[on, clock]

    def search(self, on: date, clock: time) -> datetime:
        wall = datetime.combine(on, clock)
        about = wall.replace(tzinfo=UTC)
        offsets = [
            offset
            for hours in range(-48, 49)
            if (offset := (about + timedelta(hours=hours)).astimezone(self.zone).utcoffset())
            is not None
        ]
        showing = [about - offset for offset in offsets if self.wall(about - offset) == wall]
        if showing:
            return min(showing)
        for earlier, after in pairwise(offsets):
            moved = wall + (after - earlier)
            if after > earlier and self.wall(moved.replace(tzinfo=UTC) - after) == moved:
                return moved.replace(tzinfo=UTC) - after
        raise AssertionError("a missing time lies in some gap")

    # R2, R4

    def is_sending(self, on: date) -> bool:
        return not (self.skip_weekends and on.isoweekday() in (6, 7)) and on not in self.holidays

    def sending_from(self, on: date) -> date:
        while not self.is_sending(on):
            on += DAY
        return on

    def sending_after(self, on: date, count: int) -> date:
        while count:
            on += DAY
            count -= self.is_sending(on)
        return on

    # R3

    def day_one(self) -> date:
        first = self.steps[0]
        on = self.wall(self.kickoff).date()
        if first.send == "choose":
            assert self.chosen is not None
            on = self.wall(self.chosen).date()
        elif first.send == "fixed":
            assert first.clock is not None
            if self.instant(on, first.clock) < self.kickoff:
                on += DAY
        return self.sending_from(on)

    # R10

    def may_leave(self, at: datetime) -> bool:
        on = self.wall(at).date()
        if not self.is_sending(on):
            return False
        if self.window is None:
            return True
        start, end = (self.instant(on, clock) for clock in self.window)
        return min(start, end) <= at <= end

    def inside(self, clock: time) -> time:
        if self.window and not self.window[0] <= clock <= self.window[1]:
            return self.window[0]
        return clock

    # The walk

    def walk(self) -> list[datetime | None]:
        """When each step is sent or opens, UTC; None where it is not known."""
        dates = {1: self.day_one()}
        for day in range(2, self.steps[-1].day + 1):
            dates[day] = self.sending_after(dates[1], day - 1)
        over = self.kickoff
        clocks: list[time | None] = []  # of all steps so far; None: not known, or no email
        null_day = None
        shown: list[datetime | None] = []

        for index, step in enumerate(self.steps):
            own = dates[step.day]
            clock: time | None = None
            at: datetime | None = None
            if step.send == "fixed":
                clock = step.clock
            elif step.send == "choose":
                assert self.chosen is not None
                clock = self.wall(self.chosen).time()
                if self.wall(self.chosen).date() == own:
                    at = self.chosen
            elif step.send == "same_time":
                earlier = [
                    i
                    for i, other in enumerate(self.steps[:index])
                    if other.kind == "email" and other.day < step.day
                ]
                if earlier:
                    copied = clocks[earlier[-1]]
                    if copied is None:
                        null_day = step.day
                    else:
                        clock = self.inside(copied)

            if null_day == step.day:
                shown.append(None)
                done = self.done.get(index + 1)
                clocks.append(self.wall(done).time() if done else None)
                if done:
                    over = done
                    self.slip(dates, step, done)
                continue

            if at is None:
                at = self.instant(own, clock or time(0))
            if over > at:
                reached_on = self.wall(over).date()
                if reached_on <= own:
                    at = over
                else:
                    taken = self.sending_from(reached_on)
                    at = max(over, self.instant(taken, self.inside(clock) if clock else time(0)))
            reached = at
            if not step.is_task:
                own_time_on = self.wall(at).date()
                if not self.is_sending(own_time_on):
                    taken = self.sending_from(own_time_on)
                    at = self.instant(taken, self.inside(clock) if clock else time(0))
                while not self.may_leave(at):
                    at += MINUTE
            shown.append(at)

            over = self.done.get(index + 1, at)
            if step.is_task:
                is_known = step.kind == "email" and index + 1 in self.done
                clocks.append(self.wall(over).time() if is_known else None)
            elif clock is not None:
                clocks.append(clock)
            else:
                clocks.append(self.wall(reached).time())
            self.slip(dates, step, over)
        return shown

    def slip(self, dates: dict[int, date], step: NaiveStep, over: datetime) -> None:
        """R9: what is over late moves the rest of the calendar."""
        own = dates[step.day]
        on = self.wall(over).date()
        if on <= own:
            return
        if step.is_task and self.rep_zone is not None:
            where_rep_is = over.astimezone(self.rep_zone).date()
            if where_rep_is <= own:
                return
        first = self.sending_from(on)
        for day in dates:
            if day >= step.day:
                dates[day] = self.sending_after(first, day - step.day)
