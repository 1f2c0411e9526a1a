"""All people of a campaign: counts per step; hold, release, end, retry and archive it."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Row,
    and_,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.actions import ending, holding
from drumbeat.actions.desk import Desk
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.actions.people import who_acted
from drumbeat.actions.telling import Told
from drumbeat.campaign.model import Campaign
from drumbeat.campaign.planning import LaunchError, parse_moment
from drumbeat.campaign.states import HoldKind, MessageState, Outcome, State, TaskStatus, WhyCode
from drumbeat.store import audit, holds, outbox
from drumbeat.store import campaigns as table
from drumbeat.store.schema import enrollments, messages, reps, tasks
from drumbeat.store.schema import holds as hold_rows

SUCCESSES = (Outcome.SUCCESS, Outcome.REPLIED_SUCCESS)
_OPEN = (TaskStatus.OPEN, TaskStatus.SCHEDULED)
_STUCK = (MessageState.FAILED, MessageState.BLOCKED)
_LEAVING = (MessageState.SENDING, MessageState.IN_DOUBT, *_STUCK)
_LATE = (WhyCode.LIMITS, WhyCode.RETRY, WhyCode.MAILBOX)
"""What an email waits for whose time has come already."""


@dataclass(slots=True)
class StepCounts:
    """How many people a step has seen; each enrollment counts at most once in each figure."""

    step: int
    waiting: int = 0
    """They stand at this step, and its time is still to come."""
    due: int = 0
    """They stand at this step and its time has come: its task is open, or its email is about to
    leave, held up by limits or the mail server, blocked, failed or in doubt."""
    sent: int = 0
    """Its email was sent, by Drumbeat, by the rep, or elsewhere."""
    opened: int = 0
    clicked: int = 0
    replied: int = 0
    """They replied, and this was the last email sent to them before."""
    bounced: int = 0
    """Its email came back, or the server refused the address, for good or for now."""
    unsubscribed: int = 0
    """The enrollment ended so, and this was the last email sent to them before."""
    skipped: int = 0
    """The step was left out, by a person or because the address had bounced before."""
    done: int = 0
    """Its task was completed."""


@dataclass(frozen=True, slots=True)
class StepShown:
    """A step of the newest version, by name, with what people have met there."""

    day: int | None
    """None: only an older version has it."""
    kind: str
    title: str
    counts: StepCounts


@dataclass(frozen=True, slots=True)
class HoldShown:
    """A hold on the campaign."""

    set_at: datetime
    until: datetime | None
    reason: str | None
    who: str | None
    """The name of who set it; None: Drumbeat, or whoever runs the machine."""


@dataclass(frozen=True, slots=True)
class CampaignShown:
    """A campaign and its people."""

    slug: str
    name: str
    category: str | None
    archived_at: datetime | None
    enrolled: int
    """Enrollments, ended ones and second rounds included."""
    running: int
    ended: Mapping[str, int]
    """Outcome -> how many."""
    holds: Sequence[HoldShown]
    steps: Sequence[StepShown] = field(default=())
    """Empty in lists."""

    @property
    def success_rate(self) -> float | None:
        """The part of the ended enrollments that ended well; None before any has ended."""
        all_ended = sum(self.ended.values())
        if not all_ended:
            return None
        return sum(self.ended.get(outcome, 0) for outcome in SUCCESSES) / all_ended


async def every(tx: AsyncConnection, now: datetime) -> Sequence[CampaignShown]:
    """All campaigns by category and name, archived ones included, without their steps."""
    totals = await _totals(tx, None)
    held = await _holds(tx, now)
    return [_shown(row, totals, held) for row in await table.every(tx)]


async def show(tx: AsyncConnection, slug: str, now: datetime) -> CampaignShown:
    """A campaign with the counts of each step.

    Raises:
        NotFound: There is no such campaign.
    """
    row = await campaign_of(tx, slug)
    campaign = await table.newest(tx, row.slug)
    counts = await step_counts(tx, row.slug, now)
    known = {} if campaign is None else {number: (day, s) for number, day, s in campaign.steps}
    steps = []
    for number in sorted(known.keys() | counts.keys()):
        day, step = known.get(number, (None, None))
        steps.append(
            StepShown(
                day=day,
                kind=step.kind if step is not None else "",
                title=step.called if step is not None else "in an older version",
                counts=counts.get(number, StepCounts(number)),
            )
        )
    return _shown(row, await _totals(tx, row.slug), await _holds(tx, now), steps)


async def campaign_of(tx: AsyncConnection, slug: str) -> Row[Any]:
    """A campaign's row.

    Raises:
        NotFound: There is none; the nearest known ones are not guessed.
    """
    row = await table.find(tx, slug.strip())
    if row is None:
        raise NotFound(f"there is no campaign {slug.strip()}: `campaign list` shows all")
    return row


async def step_counts(
    tx: AsyncConnection, slug: str, now: datetime, own: ColumnElement[bool] | None = None
) -> dict[int, StepCounts]:
    """Step -> its counts, for steps at which anything has happened, in one statement.

    Args:
        tx: A transaction.
        slug: The campaign's.
        now: UTC.
        own: Which enrollments count; None: all of the campaign.
    """
    which = enrollments.c.campaign == slug
    if own is not None:
        which = and_(which, own)
    counts: dict[int, StepCounts] = {}
    replied, left = enrollments.c.replied_at, enrollments.c.ended_at
    has_left = enrollments.c.outcome == Outcome.UNSUBSCRIBED
    wanted = union_all(
        _standing(which, now),
        _emails(which),
        _tasks(slug, which, is_all=own is None),
        _last_email("replied", and_(which, replied.is_not(None)), replied),
        _last_email("left", and_(which, has_left), left),
    )
    for row in await tx.execute(wanted):
        one = counts.setdefault(row.step, StepCounts(row.step))
        match row.what:
            case "standing":
                one.due, one.waiting = row.b, row.a - row.b
            case "emails":
                one.sent, one.bounced = row.a, row.b
                one.skipped += row.c
            case "tasks":
                one.done = row.a
                one.skipped += row.b
            case "replied":
                one.replied = row.a
            case "left":
                one.unsubscribed = row.a
    return counts


def _figures(what: str, step: Any, *numbers: Any) -> Any:
    """Up to three numbers of each step, in columns that are the same for every kind of them."""
    filled = [*numbers, *([literal(0)] * (3 - len(numbers)))]
    named = [number.label(name) for number, name in zip(filled, "abc", strict=True)]
    return select(literal(what).label("what"), step.label("step"), *named)


def _number(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _standing(which: ColumnElement[bool], now: datetime) -> Any:
    """Where the running enrollments stand, and for how many the step's time has come."""
    step = func.coalesce(func.nullif(enrollments.c.step, 0), 1)
    email = and_(messages.c.enrollment_id == enrollments.c.id, messages.c.step == step)
    task = and_(
        tasks.c.enrollment_id == enrollments.c.id,
        tasks.c.step == step,
        tasks.c.status.in_(_OPEN),
    )
    is_late = or_(messages.c.due_at <= now, messages.c.reason.in_(_LATE))
    is_due = or_(
        tasks.c.id.is_not(None),
        messages.c.state.in_(_LEAVING),
        and_(messages.c.state == MessageState.SCHEDULED, is_late),
        and_(enrollments.c.state == State.SLEEPING, enrollments.c.next_at <= now),
    )
    return (
        _figures("standing", step, func.count(), _number(is_due))
        .select_from(enrollments.outerjoin(messages, email).outerjoin(tasks, task))
        .where(which, enrollments.c.ended_at.is_(None))
        .group_by(step)
    )


def _emails(which: ColumnElement[bool]) -> Any:
    why = messages.c.reason
    is_cancelled = messages.c.state == MessageState.CANCELLED
    was_tried = messages.c.attempt > 0
    has_bounced = or_(
        messages.c.bounced.is_not(None),
        # The server's no to the recipient; without an attempt it was skipped for an earlier one.
        and_(is_cancelled, was_tried, why.in_((WhyCode.BOUNCED, WhyCode.SOFT_BOUNCE))),
    )
    was_skipped = and_(
        is_cancelled,
        or_(why == WhyCode.SKIPPED, and_(why == WhyCode.BOUNCED, ~was_tried)),
    )
    was_sent = messages.c.state == MessageState.SENT
    return (
        _figures(
            "emails",
            messages.c.step,
            _number(was_sent),
            _number(has_bounced),
            _number(was_skipped),
        )
        .select_from(messages.join(enrollments, enrollments.c.id == messages.c.enrollment_id))
        .where(which)
        .group_by(messages.c.step)
    )


def _tasks(slug: str, which: ColumnElement[bool], *, is_all: bool) -> Any:
    # A skipped email task is counted with its email.
    was_skipped = and_(tasks.c.status == TaskStatus.SKIPPED, tasks.c.kind != "email")
    was_done = tasks.c.status == TaskStatus.COMPLETED
    found = _figures("tasks", tasks.c.step, _number(was_done), _number(was_skipped)).where(
        tasks.c.campaign == slug,
        tasks.c.step.is_not(None),
        tasks.c.enrollment_id.is_not(None),
    )
    if not is_all:
        found = found.where(tasks.c.enrollment_id.in_(select(enrollments.c.id).where(which)))
    return found.group_by(tasks.c.step)


def _last_email(what: str, which: ColumnElement[bool], moment: ColumnElement[Any]) -> Any:
    """How many of some enrollments there are for each step whose email was the last before."""
    # Emails are sent in the order of their steps. The state is asked for so that SQLite, which
    # knows nothing of how many emails are in each, goes by the emails' key.
    is_sent = func.coalesce(messages.c.state, "") == MessageState.SENT
    last = (
        select(func.max(messages.c.step))
        .where(
            messages.c.enrollment_id == enrollments.c.id,
            is_sent,
            messages.c.sent_at <= moment,
        )
        .scalar_subquery()
    )
    found = select(last.label("step")).where(which).subquery()
    # Without an email before it, it answers, or leaves, another campaign.
    known = _figures(what, found.c.step, func.count()).where(found.c.step.is_not(None))
    return known.group_by(found.c.step)


async def _totals(tx: AsyncConnection, slug: str | None) -> dict[str, dict[str | None, int]]:
    """Slug -> outcome, None for the running ones -> how many."""
    outcome = case((enrollments.c.ended_at.is_(None), None), else_=enrollments.c.outcome)
    wanted = select(
        enrollments.c.campaign, outcome.label("outcome"), func.count().label("number")
    ).group_by(enrollments.c.campaign, outcome)
    if slug is not None:
        wanted = wanted.where(enrollments.c.campaign == slug)
    totals: dict[str, dict[str | None, int]] = {}
    for row in await tx.execute(wanted):
        totals.setdefault(row.campaign, {})[row.outcome] = row.number
    return totals


async def _holds(tx: AsyncConnection, now: datetime) -> dict[str, list[HoldShown]]:
    """Slug -> the holds that are set on the campaign."""
    wanted = (
        select(hold_rows)
        .where(holds.is_set(now), hold_rows.c.kind == HoldKind.CAMPAIGN)
        .order_by(hold_rows.c.set_at)
    )
    rows = (await tx.execute(wanted)).all()
    known = await who_acted(tx, (row.who for row in rows))
    found: dict[str, list[HoldShown]] = {}
    for row in rows:
        who = known[row.who].name if row.who in known else row.who
        one = HoldShown(row.set_at, row.until, row.reason, who)
        found.setdefault(row.target, []).append(one)
    return found


def _shown(
    row: Row[Any],
    totals: Mapping[str, Mapping[str | None, int]],
    held: Mapping[str, Sequence[HoldShown]],
    steps: Sequence[StepShown] = (),
) -> CampaignShown:
    of_it = totals.get(row.slug, {})
    ended = {outcome: number for outcome, number in of_it.items() if outcome is not None}
    return CampaignShown(
        slug=row.slug,
        name=row.name,
        category=row.category,
        archived_at=row.archived_at,
        enrolled=sum(of_it.values()),
        running=of_it.get(None, 0),
        ended=dict(sorted(ended.items())),
        holds=held.get(row.slug, ()),
        steps=steps,
    )


# What is done to a whole campaign


async def hold(
    desk: Desk, slug: str, *, until: str | None, reason: str | None
) -> tuple[Told, datetime | None, ZoneInfo]:
    """Hold everybody in a campaign, those to come included.

    Returns:
        Who was told, when it ends by itself (UTC), and the zone to show that in.

    Raises:
        ActionError: There is no such campaign, or the moment cannot be used.
    """
    async with desk.store.read() as tx:
        slug = (await campaign_of(tx, slug)).slug
        zones = await _zones(tx, slug)
    moment = None if until is None else _moment(until, zones)
    told = await holding.hold(desk, HoldKind.CAMPAIGN, slug, until=moment, reason=reason)
    return told, moment, zones[0]


async def release(desk: Desk, slug: str, *, reason: str | None) -> Told:
    """Lift what holds a campaign; wider and narrower holds stay.

    Raises:
        ActionError: There is no such campaign, or it is not held.
    """
    async with desk.store.read() as tx:
        slug = (await campaign_of(tx, slug)).slug
    told = await holding.release(desk, [(HoldKind.CAMPAIGN, slug)], reason=reason)
    if told is None:
        raise ActionError(f"campaign {slug} is not held")
    return told


def is_in(slug: str) -> ColumnElement[bool]:
    """Selects a campaign's enrollments."""
    return enrollments.c.campaign == slug


async def end(desk: Desk, slug: str, *, success: bool, reason: str | None) -> Told:
    """Remove everybody who runs from a campaign.

    Raises:
        ActionError: There is no such campaign, or nobody runs in it.
    """
    async with desk.store.read() as tx:
        slug = (await campaign_of(tx, slug)).slug
        if not (await _totals(tx, slug)).get(slug, {}).get(None):
            raise ActionError(f"nobody runs in campaign {slug}")
    return await ending.end(desk, is_in(slug), target=slug, success=success, reason=reason)


async def retry(desk: Desk, slug: str) -> Told:
    """Try again what failed or is blocked, for everybody in a campaign.

    Raises:
        ActionError: There is no such campaign, or nothing failed or is blocked in it.
    """
    stuck = exists().where(
        messages.c.enrollment_id == enrollments.c.id,
        messages.c.step == enrollments.c.step,
        messages.c.state.in_(_STUCK),
    )
    async with desk.store.write() as tx:
        slug = (await campaign_of(tx, slug)).slug
        now = await desk.store.now(tx)
        who = await desk.who(tx, None)
        key = f"retry/{secrets.token_hex(8)}"
        which = and_(
            is_in(slug), or_(enrollments.c.state.in_((State.FAILED, State.BLOCKED)), stuck)
        )
        count = await outbox.put_for_running(
            tx, which, kind="retry_step", key=key, payload={"who": who}, now=now
        )
        if not count:
            raise ActionError(f"nothing failed or is blocked in campaign {slug}")
        await audit.append(tx, who=who, action="retry", target=slug, why=None, now=now)
    return Told(count, (key,))


async def archive(desk: Desk, slug: str, *, undo: bool) -> None:
    """Take a campaign out of use for new people, or bring it back; who runs goes on.

    Raises:
        ActionError: There is no such campaign, or it is so already.
    """
    async with desk.store.write() as tx:
        row = await campaign_of(tx, slug)
        if (row.archived_at is None) == undo:
            raise ActionError(f"campaign {row.slug} is {'not archived' if undo else 'archived'}")
        now = await desk.store.now(tx)
        who = await desk.who(tx, None)
        await table.archive(tx, row.slug, None if undo else now)
        action = "unarchive" if undo else "archive"
        await audit.append(tx, who=who, action=action, target=row.slug, why=None, now=now)


async def _zones(tx: AsyncConnection, slug: str) -> list[ZoneInfo]:
    """The zones in which the campaign's people may be: the first is the campaign's own."""
    campaign: Campaign | None = await table.newest(tx, slug)
    names: list[str] = []
    if campaign is not None and campaign.settings.timezone:
        names.append(campaign.settings.timezone)
    else:
        wanted = (
            select(reps.c.timezone)
            .join(enrollments, enrollments.c.rep_id == reps.c.id)
            .where(is_in(slug), enrollments.c.ended_at.is_(None))
            .distinct()
        )
        names += [name or "UTC" for name in (await tx.execute(wanted)).scalars()]
    zones = [ZoneInfo(name) for name in sorted(names)] or [ZoneInfo("UTC")]
    return zones


def _moment(text: str, zones: Sequence[ZoneInfo]) -> datetime:
    try:
        instants = {parse_moment(text, zone, must_exist=True) for zone in zones}
    except LaunchError as error:
        raise ActionError(str(error)) from error
    if len(instants) > 1:
        names = ", ".join(zone.key for zone in zones)
        raise ActionError(
            f"{text} is another moment for each of the campaign's reps ({names}): "
            "write it with an offset, as in 2026-11-24T09:30-05:00"
        )
    return instants.pop()
