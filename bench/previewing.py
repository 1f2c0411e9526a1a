"""How quickly the calendars of many people are computed, in process."""

import time as clock
from datetime import UTC, date, datetime, time

from bench.report import Figure
from drumbeat.campaign.model import (
    Campaign,
    Day,
    EmailStep,
    Send,
    Settings,
    Step,
    TaskStep,
    Template,
    Window,
)
from drumbeat.campaign.planning import make_plan
from drumbeat.campaign.preview import preview

NAME = "preview"
STEPS = 30
PEOPLE = 1000
AIM = 20_000
ROUNDS = 3
KICKOFF = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
ZONES = ("America/New_York", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "UTC")


def campaign() -> Campaign:
    """Thirty steps over thirty days: emails of all kinds, follow-ups and tasks, no weekends."""
    days = tuple(Day(day=number, steps=(_step(number),)) for number in range(1, STEPS + 1))
    settings = Settings(
        person_timezone=True,
        skip_weekends=True,
        holiday_countries=("US",),
        holiday_dates=(date(2026, 12, 24),),
        sending_window=Window(start=time(8), end=time(18)),
    )
    return Campaign(slug="bench-preview", name="Preview", settings=settings, days=days)


def _step(number: int) -> Step:
    template = Template(name="intro", subject="Hello", body="<p>Hello</p>", is_html=True)
    match number % 5:
        case 0:
            return TaskStep(kind="call", subject="Call")
        case 2:
            return EmailStep(template=template, send=Send.SAME_TIME)
        case 3:
            return EmailStep(
                template=template, send=Send.FIXED, send_time=time(9, 30), follow_up=True
            )
        case _:
            return EmailStep(template=template, send=Send.FIXED, send_time=time(10, 15))


def measure(people: int = PEOPLE) -> Figure:
    """Plan and preview the campaign for each person, as `preview` does."""
    # The quickest round counts: whatever else runs on the machine only slows it.
    rate = max(_steps_per_second(people) for _ in range(ROUNDS))
    return Figure(
        name=NAME,
        title=f"preview of {STEPS} steps for {people:,} people",
        measured=f"{rate:,.0f} steps/s",
        floor="",
        aim=f"{AIM:,} steps/s",
        reached=rate >= AIM,
        bound="One core computing dates in Python; people are independent of each other.",
        numbers={"steps_per_second": rate, "people": people, "steps": STEPS},
    )


def _steps_per_second(people: int) -> float:
    shown = campaign()
    steps = 0
    began = clock.perf_counter()
    for number in range(people):
        plan = make_plan(
            shown,
            kickoff=KICKOFF,
            person_zone=ZONES[number % len(ZONES)],
            rep_zone="America/New_York",
        )
        steps += len(preview(plan))
    return steps / (clock.perf_counter() - began)
