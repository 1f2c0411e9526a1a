"""A launch: what a campaign, a rep and the launcher's choices mean in each person's zone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from drumbeat.campaign import calendar, templates
from drumbeat.campaign.calendar import Plan, PlannedStep
from drumbeat.campaign.model import Campaign, EmailStep
from drumbeat.campaign.planning import (
    LaunchError,
    enrollment_zone,
    make_plan,
    parse_moment,
)
from drumbeat.reps import Rep


@dataclass(frozen=True, slots=True)
class Choices:
    """What the launcher chose, as typed; moments without an offset are local to each zone."""

    send_at: str | None = None
    """The moment of a first email that says `choose`: ISO 8601, or `now`."""
    times: Mapping[int, time] = field(default_factory=dict)
    """Step -> clock time, in place of the campaign's."""
    start: str | None = None
    """The kickoff, ISO 8601; None: now."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What is the same for all people of one zone."""

    plan: Plan
    plan_json: str
    standing_json: str
    due_at: datetime
    """When the first step is due, UTC."""

    @property
    def zone(self) -> ZoneInfo:
        """The enrollments' zone."""
        return self.plan.zone

    @property
    def first(self) -> PlannedStep:
        """The first step."""
        return self.plan.steps[0]

    @property
    def first_email_due(self) -> datetime | None:
        """When the first step's email leaves, UTC; None: it is no automatic email."""
        return self.due_at if self.first.is_automatic else None


class Launches:
    """The launch of a campaign by a rep at one moment, for each zone that people are in."""

    def __init__(self, campaign: Campaign, rep: Rep, choices: Choices, now: datetime) -> None:
        self.campaign = campaign
        self.rep = rep
        self.now = now
        self._choices = choices
        self._by_zone: dict[str, Launch | LaunchError] = {}
        self._needed = _needed_tokens(campaign, rep)

    def of(self, person_zone: str | None) -> Launch | LaunchError:
        """The launch for a person with that zone, or why there can be none.

        Raises:
            LaunchError: The person's or the rep's zone is unknown.
        """
        zone = enrollment_zone(self.campaign, person_zone, self.rep.timezone)
        if zone.key not in self._by_zone:
            try:
                self._by_zone[zone.key] = self._make(zone, person_zone)
            except LaunchError as error:
                self._by_zone[zone.key] = error
        return self._by_zone[zone.key]

    def check(self, person_zones: Iterable[str | None]) -> None:
        """Refuse a launch that can begin in nobody's zone.

        Raises:
            LaunchError: What is wrong with it.
        """
        outcomes = [self.of(zone) for zone in person_zones] or [self.of(None)]
        faults = [outcome for outcome in outcomes if isinstance(outcome, LaunchError)]
        if len(faults) == len(outcomes):
            raise faults[0]

    def missing(self, fields: Mapping[str, str]) -> tuple[str, ...]:
        """The tokens that the campaign's emails need and neither person nor rep has."""
        return tuple(name for name in self._needed if name not in fields)

    def _make(self, zone: ZoneInfo, person_zone: str | None) -> Launch:
        kickoff = self._kickoff(zone)
        plan = make_plan(
            self.campaign,
            kickoff=kickoff,
            person_zone=person_zone,
            rep_zone=self.rep.timezone,
            send_at=self._choices.send_at,
            times=self._choices.times,
        )
        standing = calendar.begin(plan)
        due = calendar.due(plan, standing, plan.steps[0], plan.kickoff)
        return Launch(plan, plan.model_dump_json(), standing.model_dump_json(), due.at)

    def _kickoff(self, zone: ZoneInfo) -> datetime:
        if self._choices.start is None:
            return self.now.astimezone(UTC)
        kickoff = parse_moment(self._choices.start, zone, must_exist=True)
        if kickoff < self.now:
            raise LaunchError(
                f"the start {kickoff.astimezone(zone).isoformat()} is in the past:"
                " give a later one, or leave it out to start now"
            )
        return kickoff


def _needed_tokens(campaign: Campaign, rep: Rep) -> tuple[str, ...]:
    """The tokens without a default that only a person's own fields can fill, in order."""
    of_rep = {
        "my_name": rep.name,
        "my_email": rep.email,
        "my_title": rep.title or "",
        "my_phone": rep.phone or "",
        "my_signature": rep.signature or "",
    }
    given = templates.context({"email": rep.email}, of_rep, campaign.name, "a link")
    needed = [
        name
        for _, _, step in campaign.steps
        if isinstance(step, EmailStep)
        for name in templates.missing_tokens(step.template, given)
    ]
    return tuple(dict.fromkeys(needed))
