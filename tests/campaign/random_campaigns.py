"""Random plans around the days on which clocks change, for hypothesis; whole minutes only."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from drumbeat.campaign.calendar import Kind, Plan, PlannedStep
from drumbeat.campaign.model import Send, Window

ODD_DAYS = (
    ("UTC", date(2028, 2, 28)),
    ("America/New_York", date(2026, 11, 1)),
    ("America/New_York", date(2027, 3, 14)),
    ("Europe/Berlin", date(2026, 12, 31)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("Australia/Lord_Howe", date(2027, 4, 4)),
    ("Asia/Kathmandu", date(2026, 11, 23)),
    ("Asia/Tokyo", date(2026, 11, 23)),
    ("Pacific/Kiritimati", date(2026, 12, 31)),
    ("Pacific/Apia", date(2011, 12, 30)),
    ("America/Sao_Paulo", date(2018, 11, 4)),
    ("America/Sao_Paulo", date(2018, 2, 17)),
    ("Antarctica/Troll", date(2027, 3, 28)),
    ("Antarctica/Troll", date(2026, 10, 25)),
    ("America/Nuuk", date(2027, 3, 27)),
    ("America/Havana", date(2026, 11, 1)),
    ("Africa/Cairo", date(2026, 4, 24)),
)
ZONES = sorted({zone for zone, _ in ODD_DAYS})

minutes_of_day = st.integers(0, 24 * 60 - 1)
night_minutes = st.integers(0, 4 * 60)


def clock_of(minutes: int) -> time:
    return time(minutes // 60, minutes % 60)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Any plan that reading a campaign file and launching it could give."""
    zone_name, odd_day = draw(st.sampled_from(ODD_DAYS))
    window = draw(st.none() | st.tuples(minutes_of_day, minutes_of_day).map(sorted))
    low, high = window or (0, 24 * 60 - 1)
    kickoff = datetime.combine(odd_day, time(0), tzinfo=UTC) + timedelta(
        minutes=draw(st.integers(-4 * 24 * 60, 24 * 60))
    )
    steps = draw(step_lists(low, high))
    holidays = draw(st.lists(st.integers(-4, 12), max_size=4))
    return Plan(
        steps=tuple(steps),
        zone=ZoneInfo(zone_name),
        skip_weekends=draw(st.booleans()),
        holidays=tuple(sorted({odd_day + timedelta(days=days) for days in holidays})),
        window=Window(start=clock_of(low), end=clock_of(high)) if window else None,
        kickoff=kickoff,
        chosen=kickoff + timedelta(minutes=draw(st.integers(0, 3 * 24 * 60)))
        if steps[0].send is Send.CHOOSE
        else None,
    )


@st.composite
def step_lists(draw: st.DrawFn, low: int, high: int) -> list[PlannedStep]:
    """Steps on one to five campaign days; fixed times lie from `low` to `high` and run forwards."""
    steps: list[PlannedStep] = []
    day = 1
    has_email = False
    for _ in range(draw(st.integers(1, 5))):
        earliest = low
        had_email = has_email
        for _ in range(draw(st.integers(1, 3))):
            kinds: list[Send | Kind] = [Send.FIXED, Send.TASK, "call", "custom"]
            if not steps:
                kinds.append(Send.CHOOSE)
            elif day == 1 or had_email:
                kinds += [Send.SAME_TIME, Send.SAME_TIME]
            what = draw(st.sampled_from(kinds))
            send_time = None
            if what is Send.FIXED:
                earliest = draw(st.integers(earliest, min(high, max(earliest, 240))))
                if draw(st.booleans()):
                    earliest = draw(st.integers(earliest, high))
                send_time = clock_of(earliest)
            is_email = isinstance(what, Send)
            has_email |= is_email
            steps.append(
                PlannedStep(
                    number=len(steps) + 1,
                    day=day,
                    kind="email" if isinstance(what, Send) else what,
                    send=what if isinstance(what, Send) else None,
                    send_time=send_time,
                )
            )
        day += draw(st.integers(1, 4))
    return steps


delays = st.integers(0, 90) | st.integers(0, 12 * 60) | st.integers(0, 6 * 24 * 60)
"""Minutes from a task's opening until it is over."""
