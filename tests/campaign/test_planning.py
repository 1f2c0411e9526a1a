from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import holidays
import pytest

from drumbeat.campaign.calendar import Plan, PlannedStep
from drumbeat.campaign.model import (
    Campaign,
    Day,
    EmailStep,
    Send,
    Settings,
    TaskStep,
    Template,
    Window,
)
from drumbeat.campaign.planning import (
    LaunchError,
    enrollment_zone,
    holiday_dates,
    make_plan,
    parse_clock,
    parse_moment,
    parse_zone,
)

NEW_YORK = ZoneInfo("America/New_York")
KICKOFF = datetime(2026, 11, 23, 10, 0, tzinfo=NEW_YORK)
WINDOW = Window(start=time(8), end=time(18))


def email(send: str, *, name: str | None = "intro") -> EmailStep:
    fixed = time.fromisoformat(send) if send[0].isdigit() else None
    return EmailStep(
        template=Template(name=name, subject="For Ada Lovelace", body="Hello", is_html=False),
        send=Send.FIXED if fixed else Send(send),
        send_time=fixed,
    )


CALL = TaskStep(kind="call", subject="Call Ada Lovelace")


def campaign(*days: list[EmailStep | TaskStep], settings: Settings | None = None) -> Campaign:
    return Campaign(
        slug="intro",
        name="Introduction",
        settings=settings or Settings(timezone="America/New_York"),
        days=tuple(Day(day=day, steps=tuple(steps)) for day, steps in enumerate(days, start=1)),
    )


CHOOSING = campaign([email("choose"), CALL], [email("same_time")])
FIXED = campaign(
    [email("09:30"), email("11:00"), CALL, email("task")],
    [email("same_time"), email("10:00")],
    settings=Settings(timezone="America/New_York", sending_window=WINDOW),
)


def launch(
    what: Campaign,
    *,
    send_at: str | datetime | None = None,
    times: dict[int, time] | None = None,
    kickoff: datetime = KICKOFF,
) -> Plan:
    return make_plan(
        what, kickoff=kickoff, person_zone=None, rep_zone=None, send_at=send_at, times=times or {}
    )


# The plan


def test_a_plan_holds_the_steps_without_a_word_that_could_be_about_a_person() -> None:
    plan = launch(campaign([email("09:30"), CALL], [email("10:00", name=None)]))
    assert plan.steps == (
        PlannedStep(
            number=1, day=1, kind="email", send=Send.FIXED, send_time=time(9, 30), label="intro"
        ),
        PlannedStep(number=2, day=1, kind="call", label="call"),
        PlannedStep(
            number=3, day=2, kind="email", send=Send.FIXED, send_time=time(10), label="email"
        ),
    )
    assert "Ada" not in plan.model_dump_json()


def test_a_plan_survives_json() -> None:
    plan = launch(CHOOSING, send_at="2026-11-24T09:30")
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_kickoff_and_the_chosen_moment_are_utc() -> None:
    plan = launch(CHOOSING, send_at="2026-11-24T09:30")
    assert plan.kickoff.tzinfo is UTC
    assert plan.chosen == datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
    assert plan.chosen.tzinfo is UTC


def test_the_holidays_start_with_the_year_in_which_kickoff_falls_locally() -> None:
    settings = Settings(timezone="Pacific/Kiritimati", holiday_countries=("US",))
    new_year = datetime(2026, 12, 31, 12, tzinfo=UTC)
    plan = launch(campaign([CALL], settings=settings), kickoff=new_year)
    assert plan.holidays[0] == date(2027, 1, 1)
    assert plan.holidays[-1].year == 2037


# R1: the zone


@pytest.mark.parametrize(
    ("uses_persons", "campaigns", "person", "rep", "zone"),
    [
        (True, "Europe/Berlin", "Asia/Tokyo", "Asia/Kathmandu", "Asia/Tokyo"),
        (False, "Europe/Berlin", "Asia/Tokyo", "Asia/Kathmandu", "Europe/Berlin"),
        (True, "Europe/Berlin", None, "Asia/Kathmandu", "Europe/Berlin"),
        (True, None, None, "Asia/Kathmandu", "Asia/Kathmandu"),
        (False, None, "Asia/Tokyo", None, "UTC"),
    ],
)
def test_the_zone_is_the_persons_the_campaigns_the_reps_or_utc(
    uses_persons: bool, campaigns: str | None, person: str | None, rep: str | None, zone: str
) -> None:
    settings = Settings(timezone=campaigns, person_timezone=uses_persons)
    assert enrollment_zone(campaign([CALL], settings=settings), person, rep).key == zone


@pytest.mark.parametrize(
    "name", ["Europe/Berlim", "../etc/passwd", "posix/UTC", "localtime", "Europe", "europe/berlin"]
)
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(LaunchError, match="unknown time zone"):
        parse_zone(name)


# The chosen moment


def test_choose_needs_a_moment() -> None:
    with pytest.raises(LaunchError, match=r"give its send time \(--send-at"):
        launch(CHOOSING)


def test_a_moment_needs_choose() -> None:
    with pytest.raises(LaunchError, match="leave it out"):
        launch(FIXED, send_at="2026-11-24T09:30")


def test_now_is_the_kickoff() -> None:
    assert launch(CHOOSING, send_at="now").chosen == KICKOFF


@pytest.mark.parametrize("send_at", ["2026-11-23T09:59", "2026-11-23T15:59+01:00"])
def test_a_moment_in_the_past_is_refused(send_at: str) -> None:
    with pytest.raises(LaunchError, match="2026-11-23T09:59:00-05:00 is in the past"):
        launch(CHOOSING, send_at=send_at)


def test_the_very_moment_of_kickoff_can_be_chosen() -> None:
    assert launch(CHOOSING, send_at="2026-11-23T10:00").chosen == KICKOFF


@pytest.mark.parametrize("send_at", ["2027-03-14T02:30", datetime(2027, 3, 14, 2, 30)])  # noqa: DTZ001 - local on purpose
def test_a_moment_that_does_not_exist_locally_is_refused(send_at: str | datetime) -> None:
    with pytest.raises(LaunchError, match="does not exist in America/New_York"):
        launch(CHOOSING, send_at=send_at)


def test_the_gaps_end_exists() -> None:
    plan = launch(CHOOSING, send_at="2027-03-14T03:00")
    assert plan.chosen == datetime(2027, 3, 14, 7, tzinfo=UTC)


def test_with_an_offset_it_is_that_very_instant() -> None:
    plan = launch(CHOOSING, send_at="2027-03-14T02:30-05:00")
    assert plan.chosen == datetime(2027, 3, 14, 7, 30, tzinfo=UTC)


def test_of_a_moment_that_comes_twice_it_is_the_first() -> None:
    kickoff = datetime(2026, 10, 30, tzinfo=UTC)
    plan = launch(CHOOSING, send_at="2026-11-01T01:30", kickoff=kickoff)
    assert plan.chosen == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)


# The launcher's times


def test_the_launchers_times_take_the_place_of_the_campaigns() -> None:
    plan = launch(FIXED, times={1: time(8), 6: time(18)})
    assert [step.send_time for step in plan.steps] == [
        time(8),
        time(11),
        None,
        None,
        None,
        time(18),
    ]
    assert launch(FIXED).step(1).send_time == time(9, 30)


@pytest.mark.parametrize(
    ("number", "clock", "says"),
    [
        (0, time(9), "there is no step 0: the campaign's steps are 1 to 6"),
        (7, time(9), "there is no step 7"),
        (3, time(9), r"step 3 is a task \(call\)"),
        (4, time(9), "step 4 is an email with `send: task`"),
        (5, time(9), "step 5 is an email with `send: same_time`"),
        (1, time(7, 59), "07:59 for step 1 is outside the sending window, 08:00 to 18:00"),
        (6, time(18, 1), "outside the sending window"),
        (1, time(11, 1), "day 1 run backwards: step 1 at 11:01, step 2 at 11:00"),
        (2, time(9, 29), "day 1 run backwards: step 1 at 09:30, step 2 at 09:29"),
    ],
)
def test_a_time_that_cannot_be_is_refused(number: int, clock: time, says: str) -> None:
    with pytest.raises(LaunchError, match=says):
        launch(FIXED, times={number: clock})


def test_equal_times_on_a_day_do_not_run_backwards() -> None:
    assert launch(FIXED, times={1: time(11)}).step(1).send_time == time(11)


def test_a_chosen_email_takes_no_clock_time() -> None:
    with pytest.raises(LaunchError, match="step 1 is an email with `send: choose`"):
        launch(CHOOSING, send_at="now", times={1: time(9)})


# Reading what is typed


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-24T09:30", "2026-11-24T14:30"),
        ("2026-11-24 09:30", "2026-11-24T14:30"),
        (" 2026-11-24T09:30:15 ", "2026-11-24T14:30:15"),
        ("2026-11-24T09:30Z", "2026-11-24T09:30"),
        ("2026-11-24T09:30+05:45", "2026-11-24T03:45"),
        ("2027-03-14T02:30", "2027-03-14T07:30"),
        ("2026-11-01T01:30", "2026-11-01T05:30"),
        ("1970-01-01T00:00Z", "1970-01-01T00:00"),
        ("2199-12-31T23:59Z", "2199-12-31T23:59"),
    ],
)
def test_a_moment_is_read(text: str, utc: str) -> None:
    read = parse_moment(text, NEW_YORK)
    assert read == datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "tomorrow",
        "2026-11-24",
        "09:30",
        "2026-11-24T9:30",
        "2026-11-24T24:00",
        "2026-02-29T09:30",
        "2026-11-24T09:30+25:00",
        "20261124T0930",
        "2026-W48-2T09:30",
        "1732440600",
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(LaunchError, match="write it as in 2026-11-24T09:30"):
        parse_moment(text, NEW_YORK)


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00+14:00", "1969-12-31T23:59", "2200-01-01T00:00", "9999-12-31T23:59"]
)
def test_a_year_that_is_a_typing_error_is_refused(text: str) -> None:
    with pytest.raises(LaunchError, match="the year must be 1970 to 2199"):
        parse_moment(text, NEW_YORK)


def test_a_clock_time_is_read() -> None:
    assert parse_clock("00:00") == time(0)
    assert parse_clock("23:59") == time(23, 59)


@pytest.mark.parametrize("text", ["", "9:30", "24:00", "09:60", "09:30:00", "0930", "٠٩:٣٠"])
def test_what_is_no_clock_time_is_refused(text: str) -> None:
    with pytest.raises(LaunchError, match="write HH:MM"):
        parse_clock(text)


# R2: holidays


def test_holidays_are_a_countrys_observed_days_included_and_single_dates_in_order() -> None:
    settings = Settings(
        holiday_countries=("US",), holiday_dates=(date(2026, 12, 24), date(2025, 12, 24))
    )
    dates = holiday_dates(settings, 2026)
    assert list(dates) == sorted(set(dates))
    assert date(2025, 12, 24) not in dates
    assert {date(2026, 7, 3), date(2026, 7, 4), date(2026, 11, 26), date(2026, 12, 24)} <= {*dates}
    assert date(2027, 12, 31) in dates  # New Year's Day 2028 is a Saturday
    assert {on.year for on in dates} == set(range(2026, 2037))


def test_without_countries_and_dates_there_are_no_holidays() -> None:
    assert holiday_dates(Settings(), 2026) == ()


def test_every_countrys_holidays_are_found_without_a_warning() -> None:
    # These have none: no inhabitants, or martial law, under which Ukraine keeps no holidays.
    countries = set(holidays.list_supported_countries(include_aliases=False))
    empty = {c for c in countries if not holiday_dates(Settings(holiday_countries=(c,)), 2026)}
    assert empty <= {"BV", "HM", "IO", "UA"}
