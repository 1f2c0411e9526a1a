"""Short ways to write plans in tests."""

from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from drumbeat.campaign.calendar import Kind, Plan, PlannedStep
from drumbeat.campaign.model import Send, Window
from drumbeat.campaign.preview import preview

NEW_YORK = "America/New_York"


def email(day: int, send: str, *, follow_up: bool = False) -> PlannedStep:
    """`send` as in a campaign file: choose, same_time, task, or HH:MM."""
    fixed = time.fromisoformat(send) if send[0].isdigit() else None
    return PlannedStep(
        number=1,
        day=day,
        kind="email",
        send=Send.FIXED if fixed else Send(send),
        send_time=fixed,
        follow_up=follow_up,
    )


def task(day: int, kind: Kind = "call") -> PlannedStep:
    return PlannedStep(number=1, day=day, kind=kind)


def moment(local: str, zone: str = NEW_YORK) -> datetime:
    """An instant, written local to `zone` or with an offset."""
    at = datetime.fromisoformat(local)
    return at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))


def plan_of(
    *steps: PlannedStep,
    kickoff: str = "2026-11-23T10:00",
    zone: str = NEW_YORK,
    skip_weekends: bool = False,
    holidays: tuple[date, ...] = (),
    window: str | None = None,
    chosen: str | None = None,
) -> Plan:
    """The steps, numbered in order; `kickoff` and `chosen` local to `zone`; window HH:MM-HH:MM."""
    ends = [time.fromisoformat(end) for end in window.split("-")] if window else None
    return Plan(
        steps=tuple(
            step.model_copy(update={"number": number}) for number, step in enumerate(steps, start=1)
        ),
        zone=ZoneInfo(zone),
        skip_weekends=skip_weekends,
        holidays=holidays,
        window=Window(start=ends[0], end=ends[1]) if ends else None,
        kickoff=moment(kickoff, zone).astimezone(ZoneInfo("UTC")),
        chosen=moment(chosen, zone).astimezone(ZoneInfo("UTC")) if chosen else None,
    )


NOTHING: dict[int, str] = {}


def times(plan: Plan, done: dict[int, str] = NOTHING, rep_zone: str | None = None) -> list[str]:
    """When each step is sent or opens, local; `done`: when tasks are over, local as well."""
    moments = {step: moment(text, plan.zone.key) for step, text in done.items()}
    shown = preview(plan, moments, ZoneInfo(rep_zone) if rep_zone else None)
    return [step.at.isoformat(timespec="minutes") if step.at else "null" for step in shown]
