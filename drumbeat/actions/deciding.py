"""Who of a file's people may be enrolled, who is already, and why the others may not (SPEC 7)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.actions.launching import Launch, Launches
from drumbeat.campaign.people import PersonRow
from drumbeat.campaign.planning import LaunchError
from drumbeat.campaign.states import Outcome
from drumbeat.store import enrollments, suppressions
from drumbeat.store.people import Known

_SUPPRESSED = {"unsubscribed": "unsubscribed", "bounced": "bounced"}


class Result(StrEnum):
    """What becomes of a person in a file."""

    ENROLLED = "enrolled"
    ALREADY = "already"
    """Enrolled before."""
    EXCLUDED = "excluded"
    """Not to be written to."""
    REJECTED = "rejected"
    """The row cannot be used."""


@dataclass(slots=True)
class Party:
    """Everybody who is to be enrolled at once, and under which rules."""

    launches: Launches
    key: bytes
    """The database's own key for ids."""
    again: bool = False
    also: bool = False
    fills: Mapping[str, str] = field(default_factory=dict)
    """Token -> what those get who are enrolled and have no value for it."""
    seen: dict[str, int] = field(default_factory=dict)
    """The ids of people decided on so far, and on which line they stood."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to become of one person."""

    row: PersonRow
    result: Result
    reason: str | None = None
    person: Known | None = None
    """What is known with what the row fills; None: nothing yet."""
    changed: Known | None = None
    """The same, where the data of a person known before is to change."""
    missing: tuple[str, ...] = ()
    workflow_id: str | None = None
    launch: Launch | None = None
    """Set exactly for those of whom an enrollment is to be written."""
    round: int = 1
    unstarted: Row[Any] | None = None
    """An enrollment that was written before and never started."""


def decide_without_tables(
    launches: Launches, rows: Sequence[PersonRow], fills: Mapping[str, str]
) -> list[Decision]:
    """Decide where there is no database: nobody is known."""
    return [_by_launch(launches, with_fills(row, None, fills), None, 1) for row in rows]


async def decide(
    tx: AsyncConnection,
    party: Party,
    rows: Sequence[PersonRow],
    known: Mapping[str, Known],
) -> list[Decision]:
    """Decide on some hundreds of people.

    Args:
        tx: A transaction; where it is to write, the people are locked.
        party: To whom they belong.
        rows: What the file says of them.
        known: Address -> what the tables say.
    """
    history: dict[str, list[Row[Any]]] = defaultdict(list)
    for enrollment in await enrollments.of_people(tx, {person.id for person in known.values()}):
        history[enrollment.person_id].append(enrollment)
    asked = {row.email for row in rows} | {person.email for person in known.values()}
    against = await suppressions.against(tx, asked)
    decisions = []
    for row in rows:
        person = known.get(row.email)
        if person is not None and person.id in party.seen:
            reason = f"the same person as on line {party.seen[person.id]}"
            decisions.append(Decision(row, Result.ALREADY, reason))
            continue
        if person is not None:
            party.seen[person.id] = row.line
        address = row.email if person is None else person.email
        decision = _decide(
            party,
            row,
            person,
            history[person.id] if person is not None else [],
            against.get(address) or against.get(row.email),
        )
        decisions.append(decision)
    return decisions


def _decide(
    party: Party,
    row: PersonRow,
    person: Known | None,
    history: Sequence[Row[Any]],
    against: Row[Any] | None,
) -> Decision:
    filled = person.filled_by(row) if person is not None else None
    changed = filled if filled != person else None

    def result(result: Result, reason: str | None, **more: Any) -> Decision:
        return Decision(row, result, reason, person=filled, changed=changed, **more)

    slug = party.launches.campaign.slug
    here = [one for one in history if one.campaign == slug]
    running = next((one for one in here if one.ended_at is None), None)
    if running is not None:
        fields = row.fields if filled is None else filled.fields
        shown = {"workflow_id": running.workflow_id, "missing": party.launches.missing(fields)}
        if running.started_at is None:
            return result(Result.ENROLLED, None, unstarted=running, **shown)
        return result(Result.ALREADY, f"enrolled since {running.kickoff:%Y-%m-%d}", **shown)
    if here and not party.again:
        how = str(here[-1].outcome).replace("_", " ")
        reason = f"enrolled before, ended: {how}; --again enrolls once more"
        return result(Result.ALREADY, reason, workflow_id=here[-1].workflow_id)
    if (why := _why_excluded(party, history, against)) is not None:
        return result(Result.EXCLUDED, why)
    rounds = [one.round for one in here]
    row = with_fills(row, filled, party.fills)
    filled = person.filled_by(row) if person is not None else None
    changed = filled if filled != person else None
    return _by_launch(party.launches, row, filled, max(rounds, default=0) + 1, changed)


def with_fills(row: PersonRow, person: Known | None, fills: Mapping[str, str]) -> PersonRow:
    """The row with a value for each token that neither it nor what is known has one for."""
    known = row.fields if person is None else person.fields
    lacking = {token: text for token, text in fills.items() if not known.get(token)}
    return replace(row, fields={**row.fields, **lacking}) if lacking else row


def _why_excluded(
    party: Party, history: Sequence[Row[Any]], against: Row[Any] | None
) -> str | None:
    """Why a person who is not in the campaign may not come into it."""
    if against is not None:
        if against.kind == "domain":
            return f"blocked domain: {against.value}"
        return _SUPPRESSED.get(against.source, "suppressed")
    has_bounced = any(
        one.bounced_at is not None or one.outcome == Outcome.BOUNCED for one in history
    )
    if has_bounced and not party.again:
        return "bounced; --again enrolls all the same, once the address is mended"
    others = [one.campaign for one in history if one.ended_at is None]
    if others and not party.also:
        return f"in another campaign: {', '.join(dict.fromkeys(others))}; --also enrolls here, too"
    return None


def _by_launch(
    launches: Launches,
    row: PersonRow,
    person: Known | None,
    round: int,
    changed: Known | None = None,
) -> Decision:
    """Nothing but the launch itself can be against it."""
    launch = launches.of(row.timezone if person is None else person.timezone)
    if isinstance(launch, LaunchError):
        # What is rejected changes nothing.
        return Decision(row, Result.REJECTED, str(launch), person=person)
    fields = row.fields if person is None else person.fields
    return Decision(
        row,
        Result.ENROLLED,
        person=person,
        changed=changed,
        missing=launches.missing(fields),
        launch=launch,
        round=round,
    )
