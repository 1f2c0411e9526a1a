"""What is fixed at kickoff: a campaign, the launcher's choices and a zone become a `Plan`.

Refuses the choices that SPEC sections 3 (R3) and 8 refuse. Pure: the kickoff is handed in.
"""

import re
import warnings
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from functools import lru_cache
from types import MappingProxyType
from zoneinfo import ZoneInfo, available_timezones

import holidays

from drumbeat.campaign.calendar import Plan, PlannedStep, local_date
from drumbeat.campaign.model import Campaign, EmailStep, Send, Settings, Step, Window

FIRST_YEAR, LAST_YEAR = 1970, 2199
"""Moments in other years are typing errors."""
HOLIDAY_YEARS = 11
"""R2: the kickoff's year and the ten after."""
NO_TIMES: Mapping[int, time] = MappingProxyType({})

_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}\S*")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_NOT_IANA = frozenset({"Factory", "localtime", "posixrules"})


class LaunchError(Exception):
    """A choice of the launcher that cannot be carried out; the message is one clear sentence."""


def make_plan(
    campaign: Campaign,
    *,
    kickoff: datetime,
    person_zone: str | None,
    rep_zone: str | None,
    send_at: str | datetime | None = None,
    times: Mapping[int, time] = NO_TIMES,
) -> Plan:
    """Everything that the calendar needs for one person, fixed at kickoff.

    Args:
        campaign: The campaign, without faults.
        kickoff: When the enrollment starts; any offset.
        person_zone: The person's IANA zone, where the person has one.
        rep_zone: The rep's IANA zone, where the rep has one.
        send_at: The moment chosen for a first email that says `choose`: text as `parse_moment`
            reads it, `now`, or a datetime (without an offset: local to the enrollment's zone).
        times: Step -> the launcher's clock time, for steps with a fixed time.

    Raises:
        LaunchError: A choice is missing, superfluous or impossible.
    """
    zone = enrollment_zone(campaign, person_zone, rep_zone)
    settings = campaign.settings
    steps = _steps_at(campaign, tuple(sorted(times.items())))
    kickoff = kickoff.astimezone(UTC)
    return Plan(
        steps=steps,
        zone=zone,
        skip_weekends=settings.skip_weekends,
        holidays=holiday_dates(settings, local_date(kickoff, zone).year),
        window=settings.sending_window,
        kickoff=kickoff,
        chosen=_chosen_moment(steps[0], send_at, kickoff, zone),
    )


def enrollment_zone(campaign: Campaign, person_zone: str | None, rep_zone: str | None) -> ZoneInfo:
    """The zone of all dates and clock times of an enrollment (R1).

    Raises:
        LaunchError: One of the two is no IANA name.
    """
    person, rep = parse_zone(person_zone), parse_zone(rep_zone)
    if campaign.settings.person_timezone and person is not None:
        return person
    return parse_zone(campaign.settings.timezone) or rep or ZoneInfo("UTC")


@lru_cache(maxsize=1024)
def parse_zone(name: str | None) -> ZoneInfo | None:
    """The zone of an IANA name; None for none.

    Raises:
        LaunchError: There is no such zone.
    """
    if not name:
        return None
    # Asked of the list, since ZoneInfo also opens names such as `posix/UTC` or `localtime`.
    if name not in _zone_names():
        raise LaunchError(f"unknown time zone {name!r}: give an IANA name, as in Europe/Berlin")
    return ZoneInfo(name)


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones()) - _NOT_IANA


def parse_moment(text: str, zone: ZoneInfo, *, must_exist: bool = False) -> datetime:
    """The instant (UTC) of ISO 8601 text with date and clock time: `2026-11-24T09:30-05:00`.

    A space may stand for the `T`. With an offset it is that very instant. Without one it is local
    to `zone`; of a time that comes twice it is the first, and one that does not exist moves forward
    by the length of the gap (R11).

    Args:
        text: What the user typed.
        zone: The enrollment's zone.
        must_exist: Refuse a local time that does not exist, as R3 does for a chosen moment.

    Raises:
        LaunchError: It cannot be read, its year is not 1970 to 2199, or it does not exist.
    """
    text = text.strip()
    if not _MOMENT.fullmatch(text):
        raise LaunchError(_unreadable(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise LaunchError(_unreadable(text)) from None
    return _instant(moment, zone, must_exist=must_exist)


def _unreadable(text: str) -> str:
    return f"{text!r} is no date with a time: write it as in 2026-11-24T09:30"


def _instant(moment: datetime, zone: ZoneInfo, *, must_exist: bool) -> datetime:
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise LaunchError(
            f"{moment.isoformat()} is out of range: the year must be {FIRST_YEAR} to {LAST_YEAR}"
        )
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    instant = moment.replace(tzinfo=zone).astimezone(UTC)
    if must_exist and instant.astimezone(zone).replace(tzinfo=None) != moment:
        raise LaunchError(
            f"{moment.isoformat()} does not exist in {zone.key}, where the clocks jump over it:"
            " choose another time"
        )
    return instant


def parse_clock(text: str) -> time:
    """The local clock time of `HH:MM`, 24-hour clock.

    Raises:
        LaunchError: It is written otherwise.
    """
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise LaunchError(
            f"{text!r} is no clock time: write HH:MM from 00:00 to 23:59, as in 09:30"
        )
    return time(int(match[1]), int(match[2]))


@lru_cache(maxsize=256)
def holiday_dates(settings: Settings, first_year: int) -> tuple[date, ...]:
    """The dates that are no sending days, weekends aside (R2), in order, none before that year.

    Args:
        settings: The campaign's: countries, whose national public holidays are meant, days on
            which they are observed included, and single dates.
        first_year: The kickoff's, local to the enrollment's zone.
    """
    years = range(first_year, first_year + HOLIDAY_YEARS)
    found = {on for on in settings.holiday_dates if on.year >= first_year}
    for country in settings.holiday_countries:
        with warnings.catch_warnings():
            # A calendar that follows the moon is computed for some years ahead only; the library
            # says so each time, and gives the others of that country all the same.
            warnings.simplefilter("ignore")
            found.update(on for on in holidays.country_holidays(country, years=years))
    return tuple(sorted(on for on in found if on.year >= first_year))


@lru_cache(maxsize=256)
def _steps_at(campaign: Campaign, times: tuple[tuple[int, time], ...]) -> tuple[PlannedStep, ...]:
    """The steps with the launcher's times in place of the campaign's. The same for everybody."""
    chosen = dict(times)
    steps = tuple(_planned(*numbered) for numbered in campaign.steps)
    for number, clock in times:
        _check_time(steps, number, clock, campaign.settings.sending_window)
    steps = tuple(
        step.model_copy(update={"send_time": chosen[step.number]})
        if step.number in chosen
        else step
        for step in steps
    )
    if chosen:
        _check_order(steps)
    return steps


def _planned(number: int, day: int, step: Step) -> PlannedStep:
    if not isinstance(step, EmailStep):
        return PlannedStep(number=number, day=day, kind=step.kind, label=step.kind)
    return PlannedStep(
        number=number,
        day=day,
        kind=step.kind,
        send=step.send,
        send_time=step.send_time,
        follow_up=step.follow_up,
        label=step.title,
    )


def _check_time(
    steps: tuple[PlannedStep, ...], number: int, clock: time, window: Window | None
) -> None:
    if not 1 <= number <= len(steps):
        raise LaunchError(f"there is no step {number}: the campaign's steps are 1 to {len(steps)}")
    step = steps[number - 1]
    if step.send is not Send.FIXED:
        says = f"an email with `send: {step.send}`" if step.send else f"a task ({step.kind})"
        raise LaunchError(
            f"step {number} is {says}: a time can be set only for a step with a fixed time"
        )
    if window is not None and not window.start <= clock <= window.end:
        raise LaunchError(
            f"{clock:%H:%M} for step {number} is outside the sending window,"
            f" {window.start:%H:%M} to {window.end:%H:%M}"
        )


def _check_order(steps: tuple[PlannedStep, ...]) -> None:
    """Refuses fixed times that run backwards on one day, as a campaign file does."""
    before: PlannedStep | None = None
    for step in steps:
        if step.send_time is None:
            continue
        if (
            before is not None
            and before.send_time is not None
            and before.day == step.day
            and step.send_time < before.send_time
        ):
            raise LaunchError(
                f"the times of day {step.day} run backwards: step {before.number} at"
                f" {before.send_time:%H:%M}, step {step.number} at {step.send_time:%H:%M}"
            )
        before = step


def _chosen_moment(
    first: PlannedStep, send_at: str | datetime | None, kickoff: datetime, zone: ZoneInfo
) -> datetime | None:
    """The moment (UTC) that was chosen for the first email (R3)."""
    if first.send is not Send.CHOOSE:
        if send_at is not None:
            raise LaunchError(
                "a send time is given (--send-at), but the first step is no email with"
                " `send: choose`: leave it out"
            )
        return None
    if send_at is None:
        raise LaunchError(
            "the first email says `send: choose`: give its send time (--send-at ISO or now)"
        )
    if isinstance(send_at, datetime):
        chosen = _instant(send_at, zone, must_exist=True)
    elif send_at.strip() == "now":
        return kickoff
    else:
        chosen = parse_moment(send_at, zone, must_exist=True)
    if chosen < kickoff:
        raise LaunchError(
            f"the chosen send time {chosen.astimezone(zone).isoformat()} is in the past:"
            " give a later one, or now"
        )
    return chosen
