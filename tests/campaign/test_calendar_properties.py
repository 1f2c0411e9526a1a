"""What holds for every campaign, in every zone, on every machine."""

import os
import subprocess
import sys
import time as clock_module
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drumbeat.campaign import calendar
from drumbeat.campaign.calendar import Due, Plan, PlannedStep, Standing
from tests.campaign.building import email, plan_of, times
from tests.campaign.random_campaigns import ODD_DAYS, ZONES, clock_of, delays, plans


@dataclass
class Walked:
    step: PlannedStep
    before: Standing
    ready_at: datetime
    due: Due
    over_at: datetime
    after: Standing


def walk(plan: Plan, data: st.DataObject) -> Iterator[Walked]:
    standing, ready_at = calendar.begin(plan), plan.kickoff
    for step in plan.steps:
        due = calendar.due(plan, standing, step, ready_at)
        late = timedelta(minutes=data.draw(delays) if step.is_task else 0)
        how: calendar.Over = "sent" if step.is_automatic else "done"
        over_at = due.at + late
        after = calendar.after(plan, standing, step, over_at, how, was=due)
        yield Walked(step, standing, ready_at, due, over_at, after)
        standing, ready_at = after, over_at


@settings(max_examples=150, deadline=None)
@given(plans(), st.data())
def test_emails_leave_on_their_day_or_later_on_sending_days_within_the_window(
    plan: Plan, data: st.DataObject
) -> None:
    first = calendar.begin(plan)
    for walked in walk(plan, data):
        if not walked.step.is_automatic:
            continue
        on = walked.due.at.astimezone(plan.zone).date()
        assert on >= calendar.date_of_day(plan, first, walked.step.day)
        assert on not in plan.holidays
        assert not (plan.skip_weekends and on.isoweekday() > 5)
        if plan.window is not None:
            start = calendar.resolve(on, plan.window.start, plan.zone)
            end = calendar.resolve(on, plan.window.end, plan.zone)
            assert min(start, end) <= walked.due.at <= end


@settings(max_examples=100, deadline=None)
@given(plans(), st.data())
def test_steps_keep_their_order_and_nothing_runs_before_it_is_ready(
    plan: Plan, data: st.DataObject
) -> None:
    steps = list(walk(plan, data))
    assert all(walked.due.at >= walked.ready_at for walked in steps)
    assert all(walked.due.at.tzinfo is UTC for walked in steps)
    assert all(one.over_at <= two.due.at for one, two in pairwise(steps))


@settings(max_examples=150, deadline=None)
@given(plans(), st.data())
def test_after_a_slip_later_days_keep_their_distance_in_sending_days(
    plan: Plan, data: st.DataObject
) -> None:
    for walked in walk(plan, data):
        day = walked.step.day
        own_on = calendar.date_of_day(plan, walked.before, day)
        over_on = walked.over_at.astimezone(plan.zone).date()
        first = own_on
        if over_on > own_on:
            first = next(
                over_on + timedelta(days=days)
                for days in range(400)
                if calendar.is_sending_day(plan, over_on + timedelta(days=days))
            )
        for later_day in range(day, day + 12):
            on = calendar.date_of_day(plan, walked.after, later_day)
            between = (first + timedelta(days=days) for days in range(1, (on - first).days + 1))
            assert sum(calendar.is_sending_day(plan, d) for d in between) == later_day - day
            assert calendar.is_sending_day(plan, on)


@settings(max_examples=150, deadline=None)
@given(plans(), st.data(), st.lists(st.integers(0, 9 * 24 * 60), min_size=2, max_size=4))
def test_later_is_idempotent_and_never_earlier_for_a_later_moment(
    plan: Plan, data: st.DataObject, waits: list[int]
) -> None:
    for walked in walk(plan, data):
        clock = calendar.slot(plan, walked.before, walked.step).clock
        previous = walked.due
        for minutes in sorted(waits):
            ready_at = walked.due.at + timedelta(minutes=minutes)
            due = calendar.later(plan, walked.step, clock, walked.due, ready_at)
            assert due.at >= ready_at
            assert due.on >= walked.due.on
            assert calendar.later(plan, walked.step, clock, due, ready_at) == due
            assert calendar.later(plan, walked.step, clock, due, due.at) == due
            assert due.at >= previous.at
            previous = due


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(ODD_DAYS), st.integers(-3, 3), st.integers(0, 1439))
def test_a_local_time_resolves_to_itself_or_past_a_gap(
    odd: tuple[str, date], days: int, minutes: int
) -> None:
    zone, on, clock = ZoneInfo(odd[0]), odd[1] + timedelta(days=days), clock_of(minutes)
    at = calendar.resolve(on, clock, zone)
    shown = at.astimezone(zone)
    wall = datetime.combine(on, clock)
    assert shown.fold == 0 or shown.replace(tzinfo=None) > wall
    gap = shown.replace(tzinfo=None) - wall
    before, after = (
        (at + hours).astimezone(zone).utcoffset() for hours in (-timedelta(days=1), timedelta())
    )
    assert before is not None
    assert after is not None
    assert gap in (timedelta(), after - before)


@settings(max_examples=60, deadline=None)
@given(plans(), st.integers(-14, 14))
def test_it_does_not_matter_with_which_offset_an_instant_is_written(plan: Plan, hours: int) -> None:
    offset = timezone(timedelta(hours=hours))
    rewritten = plan.model_copy(
        update={
            "kickoff": plan.kickoff.astimezone(offset),
            "chosen": plan.chosen and plan.chosen.astimezone(offset),
        }
    )
    assert times(rewritten) == times(plan)


PROGRAM = """
from tests.campaign.building import email, plan_of, task, times
print(times(plan_of(email(1, "02:30"), task(1), email(3, "same_time"), kickoff="2027-03-13T12:00",
                    skip_weekends=True, window="01:00-04:00"), {2: "2027-03-15T05:00"}))
"""


@pytest.mark.parametrize("machine_zone", ["Pacific/Kiritimati", "America/St_Johns"])
def test_the_machines_zone_does_not_matter(machine_zone: str) -> None:
    answers = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "TZ": zone, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for zone in ("UTC", machine_zone)
    }
    assert len(answers) == 1


@pytest.mark.parametrize("machine_zone", ZONES)
def test_the_processs_zone_does_not_matter(
    machine_zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(email(1, "01:30"), email(2, "same_time"), kickoff="2026-11-01T00:00-04:00")
    expected = ["2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"]
    monkeypatch.setenv("TZ", machine_zone)
    clock_module.tzset()
    try:
        assert times(plan) == expected
    finally:
        monkeypatch.undo()
        clock_module.tzset()
