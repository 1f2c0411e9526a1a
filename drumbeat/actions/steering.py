"""What a rep does to one person's enrollments: hold, release, end, and change their steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Row, select

from activities.letters import Letters
from drumbeat.actions import drafting, ending, holding
from drumbeat.actions.asking import Answer
from drumbeat.actions.desk import Desk, keep_text
from drumbeat.actions.errors import ActionError
from drumbeat.actions.people import (
    local_moment,
    person_of,
    rep_named,
    running,
    some_running,
    the_running,
)
from drumbeat.actions.telling import Told
from drumbeat.campaign import calendar
from drumbeat.campaign.calendar import Plan, PlannedStep
from drumbeat.campaign.record import What
from drumbeat.campaign.states import HoldKind, MessageState, Why, WhyCode
from drumbeat.store import audit, events, ledger
from drumbeat.store.schema import enrollments
from drumbeat.store.schema import messages as emails
from workflows import messages


@dataclass(frozen=True, slots=True)
class Case:
    """The one running enrollment that is meant, as it was before, and who acts."""

    id: str
    workflow_id: str
    campaign: str
    plan: Plan
    rep_zone: ZoneInfo | None
    who: str | None
    is_over: bool = False
    """Whether it has ended: only an email in doubt can still be decided about."""

    def step(self, number: int) -> PlannedStep:
        """One of its steps.

        Raises:
            ActionError: There is none of that number.
        """
        if not 1 <= number <= len(self.plan.steps):
            raise ActionError(
                f"there is no step {number}: campaign {self.campaign} has {len(self.plan.steps)}"
            )
        return self.plan.step(number)


@dataclass(frozen=True, slots=True)
class ForPerson:
    """What was decided for a person, and the enrollments that run."""

    told: Told
    rows: Sequence[Row[Any]]
    which: ColumnElement[bool]
    """Selects them, for waiting until they have ended."""
    until: datetime | None = None
    """When a hold ends by itself, UTC."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What came of moving an email."""

    case: Case
    answer: Answer
    at: datetime
    """The moment that was asked for, UTC."""
    leaves_at: datetime
    """When window and sending days let it leave, UTC: that moment, or a later one."""


# The whole person, or one enrollment


async def hold(
    desk: Desk,
    address: str,
    campaign: str | None = None,
    *,
    until: str | None = None,
    reason: str | None = None,
) -> ForPerson:
    """Hold a person everywhere, enrollments to come included, or in one campaign only.

    Args:
        desk: From where it is done.
        address: The person's.
        campaign: The slug of the one campaign; None: everywhere.
        until: When it ends by itself, as typed: local to the enrollment's zone without an offset.
        reason: Why, in the words of who acts.

    Raises:
        ActionError: There is no such person, or the moment cannot be used.
    """
    person, rows, which = await of_person(desk, address, campaign)
    moment = None if until is None else local_moment(until, rows)
    told = await holding.hold(
        desk,
        HoldKind.PERSON,
        person.id if campaign is None else rows[0].id,
        until=moment,
        reason=reason,
        default_who=only_rep(rows),
    )
    return ForPerson(told, rows, which, moment)


async def release(
    desk: Desk, address: str, campaign: str | None = None, *, reason: str | None = None
) -> ForPerson:
    """Lift what holds a person, out-of-office holds included, but no wider hold.

    Raises:
        ActionError: There is no such person, or nothing of the kind holds them.
    """
    person, rows, which = await of_person(desk, address, campaign)
    ids = [row.id for row in rows]
    kinds = (HoldKind.PERSON, HoldKind.OUT_OF_OFFICE)
    targets = ids if campaign is not None else [person.id, *ids]
    held = [(kind, target) for target in targets for kind in kinds]
    told = await holding.release(desk, held, reason=reason, default_who=only_rep(rows))
    if told is None:
        where = "is not held as a person" if campaign is None else f"is not held in {campaign} only"
        raise ActionError(f"{person.email} {where}: `person show {person.email}` says what holds")
    return ForPerson(told, rows, which)


async def end(
    desk: Desk,
    address: str,
    campaign: str | None = None,
    *,
    success: bool = False,
    reason: str | None = None,
) -> ForPerson:
    """Remove a person from one campaign, or from all that run.

    Raises:
        ActionError: There is no such person, or nothing runs.
    """
    person, rows, which = await of_person(desk, address, campaign)
    if not rows:
        async with desk.store.read() as tx:
            rows = await some_running(tx, person)
    told = await ending.end(
        desk,
        which,
        target=person.id if campaign is None else rows[0].id,
        success=success,
        reason=reason,
        default_who=only_rep(rows),
    )
    return ForPerson(told, rows, which)


# One step of one enrollment


async def case_of(desk: Desk, address: str, campaign: str | None) -> Case:
    """The one running enrollment that is meant, and who acts on it.

    Raises:
        ActionError: There is none, or there are several and no campaign was named.
    """
    async with desk.store.read() as tx:
        row = await the_running(tx, await person_of(tx, address), campaign)
        rep = await rep_named(tx, row.rep_id)
        who = await desk.who(tx, row.rep_id)
    plan = Plan.model_validate_json(row.plan)
    return Case(row.id, row.workflow_id, row.campaign, plan, rep.zone, who)


async def case_in_doubt(desk: Desk, address: str, campaign: str | None, step: int) -> Case:
    """As `case_of`; where nothing runs, the enrollment that ended with the step's email in doubt.

    Raises:
        ActionError: There is neither, or several run and no campaign was named.
    """
    wanted = (
        select(enrollments)
        .join(emails, emails.c.enrollment_id == enrollments.c.id)
        .where(
            enrollments.c.ended_at.is_not(None),
            emails.c.step == step,
            emails.c.state == MessageState.IN_DOUBT,
        )
        .order_by(enrollments.c.ended_at.desc())
    )
    if campaign is not None:
        wanted = wanted.where(enrollments.c.campaign == campaign)
    async with desk.store.read() as tx:
        person = await person_of(tx, address)
        row = None
        if not await running(tx, person, campaign):
            row = (await tx.execute(wanted.where(enrollments.c.person_id == person.id))).first()
        if row is not None:
            rep = await rep_named(tx, row.rep_id)
            who = await desk.who(tx, row.rep_id)
    if row is None:
        return await case_of(desk, address, campaign)
    plan = Plan.model_validate_json(row.plan)
    return Case(row.id, row.workflow_id, row.campaign, plan, rep.zone, who, is_over=True)


async def retry(desk: Desk, case: Case, step: int | None = None) -> Answer:
    """Try a failed or blocked step again; None: the one at which the enrollment stands.

    Raises:
        ActionError: It neither failed nor is it blocked.
    """
    if step is not None:
        case.step(step)
    return await desk.ask(case, "retry_step", messages.RetryStep(**_named(case), step=step))


async def edit(
    desk: Desk,
    letters: Letters,
    case: Case,
    step: int,
    *,
    subject: str | None,
    body: str | None,
) -> Answer:
    """Let an automatic email leave with a rep's text.

    Args:
        desk: From where it is done.
        letters: Renders what the text is based on.
        case: The enrollment.
        step: The email's.
        subject: The new subject; None: as it was.
        body: The new text, HTML or plain; None: as it was.

    Raises:
        ActionError: It is no automatic email, has left, or the text may not leave so.
    """
    if not case.step(step).is_automatic:
        raise ActionError(
            f"step {step} is a task: edit its email with `task edit {case.id}-{step}`"
        )
    async with desk.store.read() as tx:
        found = await tx.execute(
            select(emails.c.draft_id).where(
                emails.c.enrollment_id == case.id, emails.c.step == step
            )
        )
        before = found.scalar_one_or_none()
    draft_id, trouble = await drafting.save_draft(
        desk, letters, case.id, step, before, subject=subject, body=body, who=case.who
    )
    if trouble is not None:
        raise ActionError(f"the text may not leave so: {trouble}")
    message = messages.EditEmail(**_named(case), step=step, draft_id=draft_id)
    return await desk.ask(case, "edit_email", message)


async def move(desk: Desk, case: Case, step: int, at: str) -> Moved:
    """Let an automatic email leave at another moment, local to the enrollment's zone as typed.

    Raises:
        ActionError: It is no automatic email, has left, or the moment cannot be used.
    """
    if not case.step(step).is_automatic:
        raise ActionError(
            f"step {step} is a task: snooze it, or schedule its email, with `task "
            f"snooze {case.id}-{step}` or `task schedule {case.id}-{step}`"
        )
    async with desk.store.read() as tx:
        found = await tx.execute(select(enrollments).where(enrollments.c.id == case.id))
        moment = local_moment(at, found.all())
    message = messages.MoveEmail(**_named(case), step=step, at=moment)
    answer = await desk.ask(case, "move_email", message)
    return Moved(case, answer, moment, calendar.may_leave(case.plan, moment))


async def skip(desk: Desk, case: Case, step: int, reason: str | None) -> Answer:
    """Leave a step out, at once or when its turn comes.

    Raises:
        ActionError: It is over, or just leaving.
    """
    case.step(step)
    async with desk.store.write() as tx:
        now = await desk.store.now(tx)
        reason_id = await keep_text(tx, reason, case.who, now)
    message = messages.SkipStep(**_named(case), step=step, reason_id=reason_id)
    answer = await desk.ask(case, "skip_step", message)
    async with desk.store.write() as tx:
        await audit.append(
            tx,
            who=case.who,
            action="skip",
            target=f"{case.id}-{step}",
            why=reason,
            now=await desk.store.now(tx),
        )
    return answer


async def resolve(desk: Desk, case: Case, step: int, *, sent: bool) -> Answer:
    """Say what became of an email in doubt: it was sent, or it is to be sent again.

    Where the enrollment has ended meanwhile, what was not sent is cancelled.

    Raises:
        ActionError: It is not in doubt.
    """
    case.step(step)
    wanted = (
        select(emails.c.handing_over_at, enrollments.c.ended_at)
        .join(enrollments, enrollments.c.id == emails.c.enrollment_id)
        .where(emails.c.enrollment_id == case.id, emails.c.step == step)
    )
    async with desk.store.read() as tx:
        found = (await tx.execute(wanted)).one_or_none()
    if found is not None and found.ended_at is not None:
        await _resolve_after_end(desk, case, step, sent=sent)
        return Answer.DONE
    handed_over_at = None if found is None else found.handing_over_at
    message = messages.ResolveDoubt(
        **_named(case), step=step, sent=sent, at=handed_over_at if sent else None
    )
    return await desk.ask(case, "resolve_doubt", message)


async def _resolve_after_end(desk: Desk, case: Case, step: int, *, sent: bool) -> None:
    """Write it down: there is no workflow any more that could."""
    async with desk.store.write() as tx:
        row = await ledger.enrollment(tx, case.id)
        email = await ledger.message(tx, case.id, step)
        if email is None or email.state != MessageState.IN_DOUBT:
            raise ActionError(f"step {step} is not in doubt")
        now = await desk.store.now(tx)
        at = email.handing_over_at if sent else now
        if sent:
            await ledger.change(tx, email, now, MessageState.SENT, sent_at=at)
        else:
            why = Why(code=WhyCode.ENDED, detail=row.outcome)
            await ledger.change(tx, email, now, MessageState.CANCELLED, why=why)
        await events.append(
            tx,
            enrollment_id=row.id,
            key=f"resolved/{step}/{email.attempt}",
            person_id=row.person_id,
            campaign=row.campaign,
            at=now,
            what=What.RESOLVED,
            step=step,
            who=case.who,
            detail={"sent": "yes" if sent else "no", "at": at.isoformat()},
        )


def _named(case: Case) -> dict[str, str | None]:
    return {"enrollment_id": case.id, "who": case.who}


async def of_person(
    desk: Desk, address: str, campaign: str | None
) -> tuple[Row[Any], Sequence[Row[Any]], ColumnElement[bool]]:
    """The person, the running enrollments that are meant, and what selects them.

    Raises:
        ActionError: There is no such person, or a campaign is named in which they do not run.
    """
    async with desk.store.read() as tx:
        person = await person_of(tx, address)
        if campaign is None:
            rows = await running(tx, person)
            return person, rows, enrollments.c.person_id == person.id
        rows = await some_running(tx, person, campaign)
    return person, rows, enrollments.c.id == rows[0].id


def only_rep(rows: Sequence[Row[Any]]) -> str | None:
    """Who acts where nobody is named: the enrollments' rep, if they have the same one."""
    ids = {row.rep_id for row in rows}
    return ids.pop() if len(ids) == 1 else None
