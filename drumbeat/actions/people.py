"""Find a person, and show where they stand: state, reason, what comes next, what happened."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Row,
    String,
    Text,
    and_,
    cast,
    literal,
    null,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.actions.desk import moment
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.campaign.calendar import Plan
from drumbeat.campaign.people import BadAddress, normalise_address
from drumbeat.campaign.planning import LaunchError, parse_moment
from drumbeat.campaign.states import HoldKind, TaskStatus, Why
from drumbeat.store import holds, suppressions
from drumbeat.store.schema import (
    campaigns,
    enrollments,
    events,
    messages,
    people,
    reps,
    tasks,
    texts,
    users,
)

_TEXT_IDS = ("text", "subject", "notes")
"""Details of an event that are ids of texts."""
_OPEN = (TaskStatus.OPEN, TaskStatus.SCHEDULED)


@dataclass(frozen=True, slots=True)
class Rep:
    """A rep, or a user who is none, as pages and lists name one."""

    id: str
    email: str
    name: str
    timezone: str | None

    @property
    def zone(self) -> ZoneInfo | None:
        """Where the rep is; None: not said."""
        return ZoneInfo(self.timezone) if self.timezone else None


@dataclass(frozen=True, slots=True)
class EventShown:
    """One thing that happened; notes and reasons stand in `detail` as they were typed."""

    at: datetime
    what: str
    step: int | None
    who: Rep | str | None
    """A rep; the id of somebody whom the tables do not know; None: Drumbeat, or the person."""
    detail: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MessageShown:
    """One email that was, or is to be, sent."""

    step: int
    state: str
    message_id: str
    sent_at: datetime | None
    why: Why | None
    due_at: datetime | None
    subject: str | None
    bounced: str | None
    elsewhere: bool
    answer: str | None
    """The mail server's words."""


@dataclass(frozen=True, slots=True)
class HoldShown:
    """A hold that is set, by whom and why."""

    id: str
    kind: HoldKind
    set_at: datetime
    until: datetime | None
    reason: str | None
    who: Rep | str | None


@dataclass(frozen=True, slots=True)
class TaskShown:
    """A task that is open for the person."""

    id: str
    kind: str
    subject: str


@dataclass(frozen=True, slots=True)
class EnrollmentShown:
    """Where one enrollment stands, running or ended."""

    id: str
    workflow_id: str
    campaign: str
    rep: Rep
    plan: Plan
    state: str
    outcome: str | None
    step: int | None
    why: Why | None
    next_at: datetime | None
    """UTC."""
    kickoff: datetime
    ended_at: datetime | None
    end_asked: str | None
    """The outcome that somebody has asked for, where the workflow has still to end."""
    campaign_name: str
    version: str
    standing: str
    """calendar.Standing as JSON."""
    holds: Sequence[HoldShown]
    task: TaskShown | None
    messages: Sequence[MessageShown]
    events: Sequence[EventShown]

    @property
    def zone(self) -> ZoneInfo:
        """The zone of its calendar (R1)."""
        return self.plan.zone

    @property
    def step_name(self) -> str | None:
        """The step at which it stands: "step 2 of 7 (day 3: email 'case-study')"."""
        if not self.step:
            return None
        step = self.plan.step(self.step)
        label = f" '{step.label}'" if step.label and step.label != step.kind else ""
        return f"step {self.step} of {len(self.plan.steps)} (day {step.day}: {step.kind}{label})"


@dataclass(frozen=True, slots=True)
class PersonShown:
    """A person and all their enrollments, the running ones first, then the latest."""

    id: str
    email: str
    fields: Mapping[str, str]
    timezone: str | None
    suppressed: str | None
    """Why no email goes to the address; None: it may get some."""
    enrollments: Sequence[EnrollmentShown]


async def person_of(tx: AsyncConnection, address: str) -> Row[Any]:
    """The person with an address.

    Raises:
        NotFound: There is none.
        ActionError: It is no address.
    """
    try:
        email = normalise_address(address.strip())
    except BadAddress as error:
        raise ActionError(str(error)) from error
    row = (await tx.execute(select(people).where(people.c.email == email))).one_or_none()
    if row is None:
        raise NotFound(f"nobody has the address {email}: people come with `enroll`")
    return row


async def running(
    tx: AsyncConnection, person: Row[Any], campaign: str | None = None
) -> Sequence[Row[Any]]:
    """A person's running enrollments, of one campaign or of all; the oldest first."""
    wanted = select(enrollments).where(
        enrollments.c.person_id == person.id, enrollments.c.ended_at.is_(None)
    )
    if campaign is not None:
        wanted = wanted.where(enrollments.c.campaign == campaign)
    return (await tx.execute(wanted.order_by(enrollments.c.kickoff, enrollments.c.id))).all()


async def some_running(
    tx: AsyncConnection, person: Row[Any], campaign: str | None = None
) -> Sequence[Row[Any]]:
    """As `running`, where at least one is needed.

    Raises:
        ActionError: There is none.
    """
    rows = await running(tx, person, campaign)
    if not rows:
        raise await _not_running(tx, person, campaign)
    return rows


async def the_running(
    tx: AsyncConnection, person: Row[Any], campaign: str | None = None
) -> Row[Any]:
    """The one running enrollment that is meant.

    Raises:
        ActionError: There is none, or there are several and no campaign was named.
    """
    rows = await some_running(tx, person, campaign)
    if len(rows) > 1:
        slugs = ", ".join(sorted(row.campaign for row in rows))
        raise ActionError(
            f"{person.email} runs in {len(rows)} campaigns ({slugs}): say which with --campaign"
        )
    return rows[0]


async def _not_running(tx: AsyncConnection, person: Row[Any], campaign: str | None) -> ActionError:
    """The error for somebody who is in no campaign, or not in this one; tells of the last end."""
    wanted = select(enrollments).where(enrollments.c.person_id == person.id)
    if campaign is not None:
        wanted = wanted.where(enrollments.c.campaign == campaign)
    latest = (await tx.execute(wanted.order_by(enrollments.c.ended_at.desc()).limit(1))).first()
    where = "in no campaign" if campaign is None else f"not in campaign {campaign}"
    if latest is None:
        return NotFound(f"{person.email} is {where}")
    how = str(latest.outcome).replace("_", " ")
    zone = Plan.model_validate_json(latest.plan).zone
    return ActionError(
        f"{person.email} is {where} any more: {latest.campaign} ended as {how}, "
        f"{moment(latest.ended_at, zone)}"
    )


def zone_of(enrollment: Row[Any]) -> ZoneInfo:
    """The zone of an enrollment's calendar (R1)."""
    return Plan.model_validate_json(enrollment.plan).zone


def local_moment(text: str, rows: Iterable[Row[Any]]) -> datetime:
    """The instant (UTC) of what was typed, local to the enrollments' zone without an offset.

    Raises:
        ActionError: It cannot be read, does not exist, or the enrollments differ in their zones.
    """
    zones = list(dict.fromkeys(zone_of(row) for row in rows)) or [ZoneInfo("UTC")]
    try:
        instants = {parse_moment(text, zone, must_exist=True) for zone in zones}
    except LaunchError as error:
        raise ActionError(str(error)) from error
    if len(instants) > 1:
        names = ", ".join(zone.key for zone in zones)
        raise ActionError(
            f"{text} is another moment in each of the enrollments' zones ({names}): "
            "write it with an offset, as in 2026-11-24T09:30-05:00, or name one with --campaign"
        )
    return instants.pop()


async def rep_named(tx: AsyncConnection, rep_id: str) -> Rep:
    """A rep by id, whom the tables know.

    Raises:
        NotFound: They do not.
    """
    found = await who_acted(tx, [rep_id])
    if rep_id not in found:
        raise NotFound(f"the tables know no rep {rep_id}")
    return found[rep_id]


async def show(
    tx: AsyncConnection, address: str, now: datetime, campaign: str | None
) -> PersonShown:
    """A person and where they stand, in one campaign or in all they ever were in.

    Raises:
        NotFound: Nobody has the address, or was ever in the campaign.
    """
    return await show_row(tx, await person_of(tx, address), now, campaign)


async def show_row(
    tx: AsyncConnection,
    person: Row[Any],
    now: datetime,
    campaign: str | None = None,
    own: ColumnElement[bool] | None = None,
) -> PersonShown:
    """As `show`, of a person's row.

    Args:
        tx: A transaction.
        person: The row.
        now: UTC.
        campaign: A slug; None: all.
        own: Which enrollments may be seen; None: all.

    Raises:
        NotFound: The person was never in the campaign.
    """
    is_its_task = and_(
        tasks.c.enrollment_id == enrollments.c.id,
        tasks.c.step.is_not(None),
        tasks.c.status.in_(_OPEN),
    )
    wanted = (
        select(
            enrollments,
            campaigns.c.name.label("campaign_name"),
            tasks.c.id.label("task_id"),
            tasks.c.kind.label("task_kind"),
            tasks.c.subject.label("task_subject"),
        )
        .join(campaigns, campaigns.c.slug == enrollments.c.campaign)
        .outerjoin(tasks, is_its_task)
        .where(enrollments.c.person_id == person.id)
    )
    if campaign is not None:
        wanted = wanted.where(enrollments.c.campaign == campaign)
    if own is not None:
        wanted = wanted.where(own)
    order = (enrollments.c.ended_at.is_not(None), enrollments.c.kickoff.desc(), enrollments.c.id)
    found = (await tx.execute(wanted.order_by(*order, tasks.c.id))).all()
    rows = list({row.id: row for row in reversed(found)}.values())[::-1]  # the first task of each
    if campaign is not None and not rows:
        raise NotFound(f"{person.email} was never in campaign {campaign}")
    suppression = await suppressions.is_suppressed(tx, person.email)
    return PersonShown(
        id=person.id,
        email=person.email,
        fields=dict(person.fields),
        timezone=person.timezone,
        suppressed=_suppressed(suppression),
        enrollments=await _enrollments(tx, rows, now),
    )


def _suppressed(row: Row[Any] | None) -> str | None:
    if row is None:
        return None
    what = f"the domain {row.value} is blocked" if row.kind == "domain" else row.source
    reason = f": {row.reason}" if row.reason else ""
    return f"{what}, {moment(row.at)}{reason}"


async def _enrollments(
    tx: AsyncConnection, rows: Sequence[Row[Any]], now: datetime
) -> list[EnrollmentShown]:
    ids = [row.id for row in rows]
    happened = (
        await tx.execute(
            select(events).where(events.c.enrollment_id.in_(ids)).order_by(events.c.at, events.c.id)
        )
    ).all()
    emails = (
        await tx.execute(
            select(messages).where(messages.c.enrollment_id.in_(ids)).order_by(messages.c.step)
        )
    ).all()
    held = await holds.active_of(tx, [row for row in rows if row.ended_at is None], now)
    who = {row.who for row in happened} | {row.detail.get("rep") for row in happened}
    who |= {row.rep_id for row in rows} | {hold.who for each in held.values() for hold in each}
    known, words = await _names_and_texts(tx, who, happened)
    return [
        EnrollmentShown(
            id=row.id,
            workflow_id=row.workflow_id,
            campaign=row.campaign,
            rep=known[row.rep_id],
            plan=Plan.model_validate_json(row.plan),
            state=row.state,
            outcome=row.outcome,
            step=row.step or None,
            why=_why(row.why),
            next_at=row.next_at,
            kickoff=row.kickoff,
            ended_at=row.ended_at,
            end_asked=row.end_asked["outcome"] if row.end_asked and not row.ended_at else None,
            holds=[_hold(hold, known) for hold in held.get(row.id, ())],
            campaign_name=row.campaign_name,
            version=row.version,
            standing=row.standing,
            task=TaskShown(row.task_id, row.task_kind, row.task_subject) if row.task_id else None,
            messages=[_message(email) for email in emails if email.enrollment_id == row.id],
            events=[
                _event(event, known, words) for event in happened if event.enrollment_id == row.id
            ],
        )
        for row in rows
    ]


async def who_acted(tx: AsyncConnection, ids: Iterable[str | None]) -> dict[str, Rep]:
    """Id -> who it is, of those whom the tables know as reps or as users."""
    return (await _names_and_texts(tx, ids, ()))[0]


async def _names_and_texts(
    tx: AsyncConnection, ids: Iterable[str | None], happened: Sequence[Row[Any]]
) -> tuple[dict[str, Rep], dict[str, str]]:
    """Who acted, and the notes and reasons of what happened: id -> text."""
    known = {each for each in ids if each is not None}
    text_ids = {row.detail[name] for row in happened for name in _TEXT_IDS if name in row.detail}
    asked = []
    if known:
        of_users = select(
            literal(1).label("turn"), users.c.id, users.c.email, users.c.name, _NONE, _NONE_TOO
        )
        of_reps = select(
            literal(2).label("turn"), reps.c.id, reps.c.email, reps.c.name, reps.c.timezone,
            _NONE_TOO,
        )  # fmt: skip
        asked += [of_users.where(users.c.id.in_(known)), of_reps.where(reps.c.id.in_(known))]
    if text_ids:
        none = cast(null(), String)
        of_texts = select(
            literal(3).label("turn"), texts.c.id, none.label("email"), none.label("name"), _NONE,
            texts.c.text.label("words"),
        )  # fmt: skip
        asked.append(of_texts.where(texts.c.id.in_(text_ids)))
    who: dict[str, Rep] = {}
    words: dict[str, str] = {}
    if asked:
        # A rep's row says more than the user's, and comes later.
        found = (await tx.execute(union_all(*asked))).all()
        for row in sorted(found, key=lambda row: int(row.turn)):
            if row.words is None:
                who[row.id] = Rep(row.id, row.email, row.name, row.timezone)
            else:
                words[row.id] = row.words
    return who, words


_NONE = cast(null(), String).label("timezone")
_NONE_TOO = cast(null(), Text).label("words")


def _why(value: object) -> Why | None:
    return None if value is None else Why.model_validate(value)


def _hold(row: Row[Any], known: Mapping[str, Rep]) -> HoldShown:
    who = None if row.who is None else known.get(row.who, row.who)
    return HoldShown(row.id, HoldKind(row.kind), row.set_at, row.until, row.reason, who)


def _message(row: Row[Any]) -> MessageShown:
    return MessageShown(
        step=row.step,
        state=row.state,
        message_id=row.message_id,
        sent_at=row.sent_at,
        why=_why(row.why),
        due_at=row.due_at,
        subject=row.subject,
        bounced=row.bounced,
        elsewhere=row.elsewhere,
        answer=row.answer,
    )


def _event(row: Row[Any], known: Mapping[str, Rep], words: Mapping[str, str]) -> EventShown:
    detail = dict(row.detail)
    for name in _TEXT_IDS:
        if name in detail:
            detail[name] = words.get(detail[name], detail[name])
    if detail.get("rep") in known:
        detail["rep"] = known[detail["rep"]].email
    who = None if row.who is None else known.get(row.who, row.who)
    return EventShown(row.at, row.what, row.step, who, detail)
