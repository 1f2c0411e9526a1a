from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from drumbeat.campaign import calendar
from drumbeat.campaign.calendar import Plan, PlannedStep
from drumbeat.campaign.forecast import coming_tasks
from drumbeat.campaign.model import Send

MONDAY = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)  # 08:00 in New York
PLAN = Plan(
    steps=(
        PlannedStep(number=1, day=1, kind="email", send=Send.FIXED, send_time=time(9)),
        PlannedStep(number=2, day=1, kind="call"),
        PlannedStep(number=3, day=3, kind="inmail"),
        PlannedStep(number=4, day=4, kind="email", send=Send.TASK),
        PlannedStep(number=5, day=9, kind="custom"),
    ),
    zone=ZoneInfo("America/New_York"),
    skip_weekends=True,
    kickoff=MONDAY,
)


def steps_until(days: int, *, step: int = 1, next_at: datetime | None = None) -> dict[int, date]:
    found = coming_tasks(
        PLAN,
        calendar.begin(PLAN),
        step,
        next_at or MONDAY + timedelta(hours=1),
        MONDAY + timedelta(days=days),
    )
    return {one.step: one.due for one in found}


def test_each_task_counts_as_over_when_it_opens() -> None:
    assert steps_until(7) == {
        2: date(2026, 11, 23),
        3: date(2026, 11, 25),
        4: date(2026, 11, 26),
    }


def test_what_opens_later_is_left_out() -> None:
    assert list(steps_until(1)) == [2]
    assert list(steps_until(14)) == [2, 3, 4, 5]


def test_a_step_that_waits_for_a_place_delays_what_follows_on_its_day() -> None:
    late = MONDAY + timedelta(days=1, hours=3)
    assert steps_until(7, next_at=late)[2] == date(2026, 11, 24)


def test_it_goes_on_from_the_step_that_waits() -> None:
    assert list(steps_until(7, step=4, next_at=MONDAY + timedelta(days=3))) == [4]
