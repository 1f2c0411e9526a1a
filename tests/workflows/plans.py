"""Plans and inputs for workflow tests: short to write, with everything at 09:30 in New York."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from drumbeat.campaign.calendar import Plan, PlannedStep
from drumbeat.campaign.model import OnReply, Send
from workflows.messages import CampaignInput

NEW_YORK = ZoneInfo("America/New_York")
ENROLLMENT = "0123456789abcdef"


def local(*parts: int) -> datetime:
    """A moment by its New York clock, in UTC."""
    year, month, day, *clock = parts
    return datetime(year, month, day, *clock, tzinfo=NEW_YORK).astimezone(UTC)  # type: ignore[misc, arg-type]


KICKOFF = local(2026, 11, 23, 8, 0)
"""A Monday."""


def email(number: int, day: int, at: str = "09:30", *, follow_up: bool = False) -> PlannedStep:
    return PlannedStep(
        number=number,
        day=day,
        kind="email",
        send=Send.FIXED,
        send_time=time.fromisoformat(at),
        follow_up=follow_up,
        label="intro",
    )


def email_task(number: int, day: int, *, follow_up: bool = False) -> PlannedStep:
    return PlannedStep(number=number, day=day, kind="email", send=Send.TASK, follow_up=follow_up)


def call(number: int, day: int) -> PlannedStep:
    return PlannedStep(number=number, day=day, kind="call", label="call")


def plan(*steps: PlannedStep, kickoff: datetime = KICKOFF) -> Plan:
    return Plan(steps=steps, zone=NEW_YORK, kickoff=kickoff)


def start(
    *steps: PlannedStep,
    on_reply: OnReply = OnReply.END,
    remove_on_bounce: bool = True,
    kickoff: datetime = KICKOFF,
    enrollment_id: str = ENROLLMENT,
) -> CampaignInput:
    return CampaignInput(
        enrollment_id=enrollment_id,
        campaign="intro",
        rep_id="r0123456789ab",
        plan=plan(*steps, kickoff=kickoff),
        on_reply=on_reply,
        remove_on_bounce=remove_on_bounce,
    )
