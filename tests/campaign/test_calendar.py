from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from drumbeat.campaign import calendar
from drumbeat.campaign.calendar import Due, Plan, Standing
from drumbeat.campaign.model import Settings
from drumbeat.campaign.planning import holiday_dates
from drumbeat.campaign.preview import preview
from tests.campaign.building import NEW_YORK, email, moment, plan_of, task, times

US_HOLIDAYS = holiday_dates(Settings(holiday_countries=("US",)), 2026)
THANKSGIVING = date(2026, 11, 26)


def local(plan: Plan, at: datetime) -> str:
    return at.astimezone(plan.zone).isoformat(timespec="minutes")


# The examples of SPEC section 3


def test_example_a_first_email_whose_time_has_passed_makes_day_one_tomorrow() -> None:
    assert times(plan_of(email(1, "09:30"))) == ["2026-11-24T09:30-05:00"]


def test_example_day_one_after_a_friday_is_monday() -> None:
    plan = plan_of(email(1, "09:30"), kickoff="2026-11-27T10:00", skip_weekends=True)
    assert times(plan) == ["2026-11-30T09:30-05:00"]


def test_example_days_skip_weekends() -> None:
    plan = plan_of(task(1), task(2), task(3), kickoff="2026-11-26T10:00", skip_weekends=True)
    assert [at[:10] for at in times(plan)] == ["2026-11-26", "2026-11-27", "2026-11-30"]


def test_example_days_skip_holidays() -> None:
    plan = plan_of(
        task(1),
        task(2),
        task(3),
        kickoff="2026-11-25T10:00",
        skip_weekends=True,
        holidays=US_HOLIDAYS,
    )
    assert [at[:10] for at in times(plan)] == ["2026-11-25", "2026-11-27", "2026-11-30"]


def test_example_same_time_copies_the_minute_at_which_the_rep_sent() -> None:
    plan = plan_of(email(1, "task"), email(3, "same_time"))
    sent_at = moment("2026-11-23T14:20:59")
    assert preview(plan, {1: sent_at})[1].at == moment("2026-11-25T14:20:00")


def test_example_a_call_done_two_days_late_moves_the_rest() -> None:
    plan = plan_of(task(1), task(2), email(4, "09:30"))
    assert times(plan, {2: "2026-11-26T15:00"})[2] == "2026-11-28T09:30-05:00"


def test_example_the_rest_of_the_late_day_goes_at_once() -> None:
    plan = plan_of(task(1), task(2), email(2, "09:30"))
    assert times(plan, {2: "2026-11-26T15:00"})[2] == "2026-11-26T15:00-05:00"


def test_example_the_rest_of_a_day_done_on_a_saturday_goes_on_monday() -> None:
    plan = plan_of(task(1), email(1, "09:30"), skip_weekends=True)
    assert times(plan, {1: "2026-11-28T12:00"})[1] == "2026-11-30T09:30-05:00"


def test_example_an_email_chosen_after_the_window_slips_a_day() -> None:
    plan = plan_of(
        email(1, "choose"), email(3, "09:30"), window="08:00-18:00", chosen="2026-11-23T20:00"
    )
    assert times(plan) == ["2026-11-24T08:00-05:00", "2026-11-26T09:30-05:00"]


def test_example_a_time_in_the_gap_moves_forward() -> None:
    plan = plan_of(email(1, "02:30"), kickoff="2027-03-14T00:00")
    assert times(plan) == ["2027-03-14T03:30-04:00"]


def test_example_a_time_that_comes_twice_is_the_first() -> None:
    plan = plan_of(email(1, "01:30"), kickoff="2026-11-01T00:00-04:00")
    assert times(plan) == ["2026-11-01T01:30-04:00"]


def test_example_a_task_is_on_time_while_its_date_lasts_where_the_rep_is() -> None:
    plan = plan_of(task(1), task(2), email(3, "09:30"), zone="Asia/Tokyo")
    done = {2: "2026-11-24T17:00-05:00"}
    assert times(plan, done, "America/New_York")[2] == "2026-11-25T09:30+09:00"
    assert times(plan, done)[2] == "2026-11-26T09:30+09:00"


# R2, R3: sending days and day 1


@pytest.mark.parametrize(
    ("kickoff", "day_one"),
    [
        ("2026-11-23T09:29:59", "2026-11-23"),
        ("2026-11-23T09:30:00", "2026-11-23"),
        ("2026-11-23T09:30:01", "2026-11-24"),
    ],
)
def test_day_one_is_today_while_the_first_time_is_to_come_or_is_now(
    kickoff: str, day_one: str
) -> None:
    assert times(plan_of(email(1, "09:30"), kickoff=kickoff)) == [f"{day_one}T09:30-05:00"]


def test_the_first_of_two_equal_times_decides_whether_it_is_still_to_come() -> None:
    plan = plan_of(email(1, "01:30"), kickoff="2026-11-01T01:10-05:00")
    assert times(plan) == ["2026-11-02T01:30-05:00"]


def test_a_time_in_the_gap_is_moved_before_it_is_compared_with_kickoff() -> None:
    plan = plan_of(email(1, "02:30"), kickoff="2027-03-14T03:15-04:00")
    assert times(plan) == ["2027-03-14T03:30-04:00"]


def test_day_one_of_a_task_is_the_date_of_kickoff_or_the_next_sending_day() -> None:
    on_friday = plan_of(task(1), kickoff="2026-11-27T23:00", skip_weekends=True)
    on_saturday = plan_of(task(1), kickoff="2026-11-28T12:00", skip_weekends=True)
    assert times(on_friday) == ["2026-11-27T23:00-05:00"]
    assert times(on_saturday) == ["2026-11-30T00:00-05:00"]


def test_a_chosen_moment_on_no_sending_day_keeps_its_clock_time() -> None:
    plan = plan_of(
        email(1, "choose"),
        email(2, "same_time"),
        holidays=(THANKSGIVING, date(2026, 11, 27)),
        chosen="2026-11-26T14:20",
    )
    assert times(plan) == ["2026-11-28T14:20-05:00", "2026-11-29T14:20-05:00"]


@pytest.mark.parametrize("offset", ["-04:00", "-05:00"])
def test_a_chosen_moment_with_an_offset_is_that_instant_also_where_its_time_comes_twice(
    offset: str,
) -> None:
    plan = plan_of(
        email(1, "choose"),
        email(2, "same_time"),
        kickoff="2026-10-31T12:00",
        chosen=f"2026-11-01T01:30{offset}",
    )
    assert times(plan) == [f"2026-11-01T01:30{offset}", "2026-11-02T01:30-05:00"]


def test_nothing_automatic_leaves_on_a_holiday_whatever_made_it_late() -> None:
    plan = plan_of(
        task(1), email(1, "09:30"), email(2, "09:30"), skip_weekends=True, holidays=US_HOLIDAYS
    )
    assert times(plan, {1: "2026-11-26T08:00"}) == [
        "2026-11-23T10:00-05:00",
        "2026-11-27T09:30-05:00",
        "2026-11-30T09:30-05:00",
    ]


# R4, R5: a place in the calendar


def test_days_are_places_in_the_calendar_not_waits() -> None:
    plan = plan_of(task(1), task(3), email(10, "09:30"), skip_weekends=True)
    assert times(plan, {1: "2026-11-23T18:00", 2: "2026-11-25T23:59"})[2][:10] == "2026-12-04"


def test_days_cross_leap_days_and_year_ends() -> None:
    leap = plan_of(email(1, "09:30"), email(2, "09:30"), kickoff="2028-02-28T00:00")
    year = plan_of(email(1, "09:30"), email(365, "09:30"), kickoff="2026-01-01T00:00")
    assert [at[:10] for at in times(leap)] == ["2028-02-28", "2028-02-29"]
    assert [at[:10] for at in times(year)] == ["2026-01-01", "2026-12-31"]


# R6: same time


def test_a_copy_takes_the_last_email_of_an_earlier_day() -> None:
    plan = plan_of(
        email(1, "08:00"),
        email(1, "09:00"),
        email(2, "10:00"),
        email(2, "same_time"),
        email(3, "same_time"),
        kickoff="2026-11-23T00:00",
    )
    # Step 4 copies step 2, not its neighbour; its 09:00 has passed, so it goes at once. Its own
    # clock time stays the planned one.
    assert [at[11:16] for at in times(plan)] == ["08:00", "09:00", "10:00", "10:00", "09:00"]


def test_a_copy_takes_the_time_that_was_planned_before_the_gap_moved_it() -> None:
    plan = plan_of(email(1, "02:30"), email(2, "same_time"), kickoff="2027-03-14T00:00")
    assert times(plan) == ["2027-03-14T03:30-04:00", "2027-03-15T02:30-04:00"]


@pytest.mark.parametrize("sent", ["07:59", "18:01", "23:59"])
def test_a_copied_time_outside_the_window_is_its_start_on_the_same_day(sent: str) -> None:
    plan = plan_of(
        email(1, "task"), email(2, "same_time"), kickoff="2026-11-23T00:00", window="08:00-18:00"
    )
    assert times(plan, {1: f"2026-11-23T{sent}"})[1] == "2026-11-24T08:00-05:00"


@pytest.mark.parametrize("sent", ["08:00", "18:00"])
def test_a_copied_time_at_an_end_of_the_window_stays(sent: str) -> None:
    plan = plan_of(
        email(1, "task"), email(2, "same_time"), kickoff="2026-11-23T00:00", window="08:00-18:00"
    )
    assert times(plan, {1: f"2026-11-23T{sent}:40"})[1] == f"2026-11-24T{sent}-05:00"


def test_same_time_on_the_first_day_goes_at_once_and_that_time_is_copied() -> None:
    plan = plan_of(task(1), email(1, "same_time"), email(2, "same_time"))
    assert times(plan, {1: "2026-11-23T11:11"})[1:] == [
        "2026-11-23T11:11-05:00",
        "2026-11-24T11:11-05:00",
    ]


def test_same_time_on_the_first_day_is_copied_from_when_it_was_reached_not_held_until() -> None:
    plan = plan_of(task(1), email(1, "same_time"), email(2, "same_time"))
    standing = calendar.begin(plan)
    reached = moment("2026-11-23T11:11")
    standing = calendar.after(plan, standing, plan.step(1), reached, "done")
    was = Due(moment("2026-11-23T15:00"), date(2026, 11, 23))

    standing = calendar.after(plan, standing, plan.step(2), was.at, "sent", was=was)

    assert calendar.slot(plan, standing, plan.step(3)).clock == time(11, 11)


def test_a_skipped_email_is_not_copied_but_the_one_before_it() -> None:
    plan = plan_of(email(1, "09:00"), email(2, "10:00"), email(3, "same_time"))
    assert clock_after_skipping(plan, 2) == time(9)


def test_with_every_email_skipped_a_copy_is_due_when_it_is_reached() -> None:
    plan = plan_of(email(1, "09:00"), email(2, "10:00"), email(3, "same_time"))
    assert clock_after_skipping(plan, 1, 2) is None
    standing = skipping(plan, 1, 2)
    reached = moment("2026-11-26T12:34")
    assert calendar.due(plan, standing, plan.step(3), reached) == Due(reached, THANKSGIVING)


def skipping(plan: Plan, *numbers: int) -> Standing:
    standing = calendar.begin(plan)
    for step in plan.steps[:-1]:
        due = calendar.due(plan, standing, step, plan.kickoff)
        how: calendar.Over = "skipped" if step.number in numbers else "sent"
        standing = calendar.after(plan, standing, step, due.at, how, was=due)
    return standing


def clock_after_skipping(plan: Plan, *numbers: int) -> time | None:
    return calendar.slot(plan, skipping(plan, *numbers), plan.steps[-1]).clock


def test_a_long_chain_of_copies_is_known_from_the_start() -> None:
    copies = (email(day, "same_time") for day in range(2, 366))
    plan = plan_of(email(1, "09:30"), *copies, kickoff="2026-11-23T00:00")
    assert calendar.slot(plan, calendar.begin(plan), plan.step(365)).clock == time(9, 30)


# R7, R8: tasks and order


def test_tasks_open_at_the_start_of_their_day_and_are_due_on_it() -> None:
    plan = plan_of(task(1), task(1), task(3))
    assert times(plan, {1: "2026-11-23T11:00"}) == [
        "2026-11-23T10:00-05:00",
        "2026-11-23T11:00-05:00",
        "2026-11-25T00:00-05:00",
    ]
    due = calendar.due(plan, calendar.begin(plan), plan.step(3), plan.kickoff)
    assert due.on == date(2026, 11, 25)


def test_a_day_without_midnight_starts_after_the_gap() -> None:
    plan = plan_of(task(1), task(2), kickoff="2018-11-03T10:00", zone="America/Sao_Paulo")
    assert times(plan)[1] == "2018-11-04T01:00-02:00"


# R9: late


def test_on_its_own_date_a_late_email_goes_at_once() -> None:
    plan = plan_of(email(1, "09:30"), kickoff="2026-11-23T09:00")
    due = calendar.due(plan, calendar.begin(plan), plan.step(1), moment("2026-11-23T13:00"))
    assert local(plan, due.at) == "2026-11-23T13:00-05:00"


@pytest.mark.parametrize(
    ("ready", "leaves"),
    [
        ("2026-11-25T07:00", "2026-11-25T09:30-05:00"),
        ("2026-11-25T13:00", "2026-11-25T13:00-05:00"),
        ("2026-11-28T13:00", "2026-11-30T09:30-05:00"),
    ],
)
def test_on_a_later_date_it_takes_its_clock_time_or_goes_at_once(ready: str, leaves: str) -> None:
    plan = plan_of(email(1, "09:30"), kickoff="2026-11-23T09:00", skip_weekends=True)
    due = calendar.due(plan, calendar.begin(plan), plan.step(1), moment(ready))
    assert local(plan, due.at) == leaves
    assert due.on.isoformat() == leaves[:10]


def test_an_email_that_waited_for_the_window_goes_at_once_when_it_is_later_than_its_start() -> None:
    plan = plan_of(email(1, "09:30"), kickoff="2026-11-23T09:00", window="08:00-18:00")
    step = plan.step(1)
    due = calendar.due(plan, calendar.begin(plan), step, moment("2026-11-23T18:30"))
    assert local(plan, due.at) == "2026-11-24T08:00-05:00"
    due = calendar.later(plan, step, time(9, 30), due, moment("2026-11-24T08:10"))
    assert local(plan, due.at) == "2026-11-24T08:10-05:00"


def test_a_late_email_chosen_outside_the_window_takes_its_start() -> None:
    plan = plan_of(email(1, "choose"), chosen="2026-11-23T20:00", window="08:00-18:00")
    due = calendar.due(plan, calendar.begin(plan), plan.step(1), moment("2026-11-25T07:00"))
    assert local(plan, due.at) == "2026-11-25T08:00-05:00"


def test_a_task_that_is_reached_on_no_sending_day_opens_on_the_next() -> None:
    plan = plan_of(task(1), skip_weekends=True)
    due = calendar.due(plan, calendar.begin(plan), plan.step(1), moment("2026-11-28T12:00"))
    assert local(plan, due.at) == "2026-11-30T00:00-05:00"
    assert due.on == date(2026, 11, 30)


def test_a_task_that_opened_late_counts_from_the_date_it_took_while_that_lasts_for_the_rep() -> (
    None
):
    plan = plan_of(task(1), task(2), zone="Asia/Tokyo", kickoff="2026-11-24T10:00")
    standing = calendar.begin(plan)
    was = calendar.due(plan, standing, plan.step(1), moment("2026-11-25T10:00", "Asia/Tokyo"))
    done_at = moment("2026-11-26T07:00", "Asia/Tokyo")  # still the 25th in New York
    standing = calendar.after(
        plan, standing, plan.step(1), done_at, "done", was=was, rep_zone=ZoneInfo(NEW_YORK)
    )
    assert calendar.date_of_day(plan, standing, 2) == date(2026, 11, 26)


def test_slipped_days_never_catch_up() -> None:
    plan = plan_of(task(1), task(2), task(3), email(5, "09:30"))
    done = {1: "2026-11-25T10:00", 2: "2026-11-26T01:00", 3: "2026-11-27T01:00"}
    assert times(plan, done) == [
        "2026-11-23T10:00-05:00",
        "2026-11-26T00:00-05:00",
        "2026-11-27T00:00-05:00",
        "2026-11-29T09:30-05:00",
    ]


def test_a_second_task_of_the_rep_still_on_its_date_there_slips_nothing() -> None:
    plan = plan_of(task(1), task(2), task(2), email(3, "09:30"), zone="Asia/Tokyo")
    done = {2: "2026-11-24T17:00-05:00", 3: "2026-11-24T17:05-05:00"}
    assert times(plan, done, "America/New_York")[3] == "2026-11-25T09:30+09:00"


def test_a_step_skipped_before_its_day_moves_nothing() -> None:
    plan = plan_of(task(1), email(5, "09:30"), email(8, "09:30"))
    standing = calendar.begin(plan)
    standing = calendar.after(plan, standing, plan.step(1), plan.kickoff, "done")
    standing = calendar.after(plan, standing, plan.step(2), plan.kickoff, "skipped")
    assert calendar.date_of_day(plan, standing, 8) == date(2026, 11, 30)


def test_an_email_moved_to_a_day_that_is_none_keeps_its_clock_time() -> None:
    plan = plan_of(email(1, "09:30"), email(2, "09:30"), skip_weekends=True)
    standing = calendar.begin(plan)
    standing = calendar.move(standing, plan.step(1), moment("2026-11-28T14:00").astimezone(UTC))
    due = calendar.due(plan, standing, plan.step(1), plan.kickoff)
    assert local(plan, due.at) == "2026-11-30T14:00-05:00"
    standing = calendar.after(plan, standing, plan.step(1), due.at, "sent", was=due)
    assert calendar.date_of_day(plan, standing, 2) == date(2026, 12, 1)


# R10: the window


@pytest.mark.parametrize(
    ("ready", "leaves"),
    [
        ("2026-11-23T07:59", "2026-11-23T08:00-05:00"),
        ("2026-11-23T08:00", "2026-11-23T08:00-05:00"),
        ("2026-11-23T18:00", "2026-11-23T18:00-05:00"),
        ("2026-11-23T18:01", "2026-11-24T08:00-05:00"),
        ("2026-11-27T18:01", "2026-11-30T08:00-05:00"),
        ("2026-11-28T12:00", "2026-11-30T08:00-05:00"),
    ],
)
def test_an_email_waits_for_the_window(ready: str, leaves: str) -> None:
    plan = plan_of(task(1), skip_weekends=True, window="08:00-18:00")
    assert local(plan, calendar.may_leave(plan, moment(ready))) == leaves


def test_the_last_minute_of_the_window_belongs_to_it_whole() -> None:
    plan = plan_of(task(1), window="08:00-18:00")
    at = moment("2026-11-23T18:00:00.500")
    assert calendar.may_leave(plan, at) == at


def test_tasks_do_not_wait_for_the_window() -> None:
    plan = plan_of(email(1, "task"), kickoff="2026-11-23T22:00", window="08:00-18:00")
    assert times(plan) == ["2026-11-23T22:00-05:00"]


@pytest.mark.parametrize(
    ("window", "ready", "leaves"),
    [
        ("01:00-02:30", "2027-03-14T03:30-04:00", "2027-03-14T03:30-04:00"),
        ("01:00-02:30", "2027-03-14T03:31-04:00", "2027-03-15T01:00-04:00"),
        ("02:30-10:00", "2027-03-14T03:10-04:00", "2027-03-14T03:30-04:00"),
        ("02:30-03:10", "2027-03-14T01:00-05:00", "2027-03-14T03:10-04:00"),
        ("00:30-01:30", "2026-11-01T01:30-04:00", "2026-11-01T01:30-04:00"),
        ("00:30-01:30", "2026-11-01T01:10-05:00", "2026-11-02T00:30-05:00"),
        ("01:30-09:00", "2026-11-01T01:10-05:00", "2026-11-01T01:10-05:00"),
    ],
)
def test_the_windows_ends_follow_the_clock_changes(window: str, ready: str, leaves: str) -> None:
    plan = plan_of(task(1), window=window)
    assert local(plan, calendar.may_leave(plan, moment(ready))) == leaves


@pytest.mark.parametrize(
    ("window", "start", "end", "hours"),
    [
        (None, "2026-11-23T10:00", "2026-11-24T11:00", 25),
        (None, "2026-11-27T23:00", "2026-11-30T01:00", 2),
        (None, "2026-11-28T10:00", "2026-11-29T10:00", 0),
        ("08:00-17:59", "2026-11-23T17:00", "2026-11-25T09:00", 12),
        ("08:00-17:59", "2026-11-27T19:00", "2026-11-30T08:00", 0),
    ],
)
def test_open_time_counts_only_when_an_email_may_leave(
    window: str | None, start: str, end: str, hours: float
) -> None:
    plan = plan_of(task(1), skip_weekends=True, window=window)
    assert calendar.open_time(plan, moment(start), moment(end)) == timedelta(hours=hours)


# R11: clock changes


@pytest.mark.parametrize(
    ("zone", "on", "clock", "instant"),
    [
        ("Australia/Lord_Howe", "2026-10-04", "02:15", "2026-10-04T02:45+11:00"),
        ("Australia/Lord_Howe", "2026-04-05", "01:45", "2026-04-05T01:45+11:00"),
        ("Asia/Kathmandu", "2026-11-23", "09:30", "2026-11-23T09:30+05:45"),
        ("Pacific/Kiritimati", "2026-12-31", "23:59", "2026-12-31T23:59+14:00"),
        ("Pacific/Apia", "2011-12-30", "09:30", "2011-12-31T09:30+14:00"),
        ("America/Sao_Paulo", "2018-11-04", "00:00", "2018-11-04T01:00-02:00"),
        ("America/Sao_Paulo", "2018-02-17", "23:30", "2018-02-17T23:30-02:00"),
        ("Antarctica/Troll", "2026-03-29", "01:30", "2026-03-29T03:30+02:00"),
        ("Antarctica/Troll", "2026-10-25", "01:30", "2026-10-25T01:30+02:00"),
        ("America/Nuuk", "2027-03-27", "23:30", "2027-03-28T00:30-01:00"),
        ("Africa/Cairo", "2026-04-24", "00:00", "2026-04-24T01:00+03:00"),
    ],
)
def test_local_times_in_zones_with_odd_rules(zone: str, on: str, clock: str, instant: str) -> None:
    at = calendar.resolve(date.fromisoformat(on), time.fromisoformat(clock), ZoneInfo(zone))
    assert at.tzinfo is UTC
    assert at.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes") == instant
