from bisect import insort
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from time import process_time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumbeat.campaign.calendar import Plan, may_leave
from drumbeat.campaign.model import Window
from drumbeat.mail.limits import (
    SPARE,
    VALID_FOR,
    FirstEmails,
    Limit,
    earliest,
    earliest_on_free_day,
    place,
    with_spare,
)

START = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")
BATCH = Limit(25, timedelta(seconds=45))
DAILY = Limit(1000, timedelta(hours=24))


def second(offset: float) -> datetime:
    return START + timedelta(seconds=offset)


def seconds(*offsets: float) -> list[datetime]:
    return [second(offset) for offset in offsets]


def fullest(marks: list[datetime], span: timedelta) -> int:
    """How many marks the fullest half-open span holds; one that begins at a mark is fullest."""
    return max(sum(start <= mark < start + span for mark in marks) for start in marks)


def test_without_marks_an_email_leaves_when_it_is_due() -> None:
    assert earliest(START, [], [DAILY, BATCH]) == START


def test_the_last_of_a_batch_leaves_at_once_and_the_next_one_waits_a_full_span() -> None:
    assert earliest(second(1), [START] * 24, [BATCH]) == second(1)
    assert earliest(second(1), [START] * 25, [BATCH]) == second(45)


def test_a_span_is_half_open() -> None:
    assert earliest(second(45), seconds(0, 0), [Limit(2, timedelta(seconds=45))]) == second(45)


def test_places_taken_later_count_too() -> None:
    two_in_ten = Limit(2, timedelta(seconds=10))
    assert earliest(second(0), seconds(5, 5), [two_in_ten]) == second(15)
    assert earliest(second(0), seconds(9.5, 10), [two_in_ten]) == second(0)
    assert earliest(second(1), seconds(9.5, 10), [two_in_ten]) == second(19.5)


def test_a_gap_between_two_full_spans_is_used() -> None:
    two_in_ten = Limit(2, timedelta(seconds=10))
    assert earliest(second(1), seconds(0, 0, 30, 30), [two_in_ten]) == second(10)
    assert earliest(second(1), seconds(0, 0, 19, 19), [two_in_ten]) == second(29)


def test_all_limits_hold_together() -> None:
    limits = [Limit(3, timedelta(seconds=100)), Limit(1, timedelta(seconds=10))]
    assert earliest(second(0), seconds(0, 10, 20), limits) == second(100)


def test_marks_that_broke_a_limit_forbid_no_more_than_their_own_span() -> None:
    one_in_ten = Limit(1, timedelta(seconds=10))
    assert earliest(second(0), seconds(0, 3), [one_in_ten]) == second(13)


def test_spans_are_real_time_across_a_clock_change() -> None:
    before = datetime(2026, 10, 31, 12, tzinfo=NEW_YORK)
    found = earliest(before, [before.astimezone(UTC)], [Limit(1, timedelta(hours=24))])
    assert found - before.astimezone(UTC) == timedelta(hours=24)


def test_places_are_planned_with_five_seconds_to_spare() -> None:
    assert timedelta(seconds=5) == SPARE == VALID_FOR
    assert with_spare([BATCH, DAILY]) == (
        Limit(25, timedelta(seconds=50)),
        Limit(1000, timedelta(hours=24, seconds=5)),
    )


offsets = st.integers(min_value=0, max_value=60)
some_limits = st.lists(
    st.builds(
        Limit,
        st.integers(min_value=1, max_value=4),
        st.integers(min_value=1, max_value=20).map(lambda s: timedelta(seconds=s)),
    ),
    max_size=3,
)


def keeps(at: datetime, marks: list[datetime], limit: Limit) -> bool:
    """The definition itself: no half-open span that holds `at` holds more than `count` with it."""
    held = sorted([*marks, at])
    starts = [start for start in held if start <= at < start + limit.span]
    return all(
        sum(start <= mark < start + limit.span for mark in held) <= limit.count for start in starts
    )


@given(offsets, st.lists(offsets, max_size=25).map(sorted), some_limits)
def test_the_place_found_is_the_first_that_keeps_every_limit(
    at: int, offsets_taken: list[int], limits: list[Limit]
) -> None:
    marks = seconds(*offsets_taken)
    first = next(
        second(offset)
        for offset in range(at, 200)
        if all(keeps(second(offset), marks, limit) for limit in limits)
    )
    assert earliest(second(at), marks, limits) == first


@given(
    st.lists(st.tuples(offsets, st.floats(min_value=0, max_value=5)), max_size=40),
    some_limits,
)
def test_places_used_while_they_are_valid_never_break_a_limit(
    asks: list[tuple[int, float]], limits: list[Limit]
) -> None:
    places: list[datetime] = []
    used: list[datetime] = []
    for offset, late in asks:
        at = earliest(second(offset), places, with_spare(limits))
        insort(places, at)
        used.append(at + timedelta(seconds=late))
    for limit in limits:
        assert not used or fullest(used, limit.span) <= limit.count


def test_the_first_email_waits_for_a_date_with_room_where_the_owner_is() -> None:
    tuesday = date(2026, 11, 24)
    first = FirstEmails(per_day=2, zone=NEW_YORK, used={tuesday: 2})
    wednesday = datetime(2026, 11, 25, 5, tzinfo=UTC)  # 00:00 in New York
    assert earliest_on_free_day(START, first) == wednesday
    full_too = FirstEmails(2, NEW_YORK, {tuesday: 2, date(2026, 11, 25): 3})
    assert earliest_on_free_day(START, full_too) == wednesday + timedelta(days=1)
    assert earliest_on_free_day(START, FirstEmails(2, NEW_YORK, {tuesday: 1})) == START


def test_a_first_email_is_not_planned_where_it_could_slip_into_the_next_date() -> None:
    first = FirstEmails(per_day=1, zone=NEW_YORK, used={})
    midnight = datetime(2026, 11, 25, 5, tzinfo=UTC)
    assert earliest_on_free_day(midnight - timedelta(seconds=3), first) == midnight
    assert earliest_on_free_day(midnight - timedelta(seconds=6), first) == midnight - timedelta(
        seconds=6
    )


def test_a_date_without_midnight_begins_after_its_gap() -> None:
    sao_paulo = ZoneInfo("America/Sao_Paulo")
    first = FirstEmails(1, sao_paulo, {date(2018, 11, 3): 1})
    found = earliest_on_free_day(datetime(2018, 11, 3, 15, tzinfo=UTC), first)
    assert found.astimezone(sao_paulo).isoformat() == "2018-11-04T01:00:00-02:00"


def in_office_hours() -> Plan:
    return Plan(
        steps=(),
        zone=NEW_YORK,
        skip_weekends=True,
        window=Window(start=time(9), end=time(17)),
        kickoff=START,
    )


def test_a_place_is_within_the_window_the_limits_and_the_days_at_once() -> None:
    def leave(at: datetime) -> datetime:
        return may_leave(in_office_hours(), at)

    friday = datetime(2026, 11, 27, 21, 59, 30, tzinfo=UTC)  # 16:59:30
    monday = datetime(2026, 11, 30, 14, tzinfo=UTC)  # 09:00
    two_minutes = [Limit(1, timedelta(minutes=2))]
    assert place(friday, leave=leave, marks=[], limits=two_minutes) == friday
    assert place(friday, leave=leave, marks=[friday], limits=two_minutes) == monday
    taken = [friday, monday]
    assert place(friday, leave=leave, marks=taken, limits=two_minutes) == monday + timedelta(
        minutes=2
    )
    first = FirstEmails(1, NEW_YORK, {date(2026, 11, 27): 1, date(2026, 11, 30): 1})
    assert place(
        friday, leave=leave, marks=taken, limits=two_minutes, first=first
    ) == monday + timedelta(days=1)


@pytest.mark.parametrize("limits", [(DAILY, BATCH), (BATCH,), ()], ids=["both", "batch", "none"])
def test_an_ask_among_ten_thousand_marks_takes_about_a_millisecond(
    limits: tuple[Limit, ...],
) -> None:
    spaced = with_spare(limits)
    marks: list[datetime] = []
    at = START
    for _ in range(10_000):  # each asks where the last one was put: quick to set up
        at = earliest(at, marks, spaced)
        marks.append(at)
    asks = 200
    began = process_time()
    for _ in range(asks):  # all due at the same moment: the longest way to a free place
        insort(marks, earliest(START, marks, spaced))
    assert (process_time() - began) / asks < 0.005  # a loaded machine is no failure
    for limit in limits:
        assert all(
            later - sooner >= limit.span
            for sooner, later in zip(marks, marks[limit.count :], strict=False)
        )
    assert all(sooner <= later for sooner, later in pairwise(marks))
