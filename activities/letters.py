"""From the tables to the letter of one email: what is read, how it is rendered, what it hangs on.

The send activity, the rep's compose window and the preview of a task all build letters here, so
that what is sent is what was shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign import templates, threads
from drumbeat.campaign.calendar import Plan, PlannedStep, Standing
from drumbeat.campaign.model import Attachment, Campaign, EmailStep, Step
from drumbeat.campaign.states import MessageState, TaskStatus, Why, WhyCode
from drumbeat.campaign.templates import Body, MissingData
from drumbeat.campaign.threads import EarlierEmail, Left, Thread
from drumbeat.mail import composing
from drumbeat.mail.composing import Composed, Party
from drumbeat.mail.links import Links
from drumbeat.mail.quoting import Quote, quote
from drumbeat.mail.rendering import Renderer, RenderingStopped
from drumbeat.reps import Rep, Reps
from drumbeat.store import campaigns, ledger
from drumbeat.store.errors import RowMissing
from drumbeat.store.schema import drafts, enrollments, messages, people, reps, tasks

NO_BLOBS: Mapping[str, bytes] = {}


NO_DRAFT = Why(code=WhyCode.TEMPLATE, detail="the email has no such draft")


@dataclass(frozen=True, slots=True)
class Person:
    """Who is written to."""

    id: str
    email: str
    fields: dict[str, str]
    revision: int

    @property
    def name(self) -> str:
        """As it stands beside the address; empty where no name is known."""
        parts = (self.fields.get("first_name", ""), self.fields.get("last_name", ""))
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that one email is made from, as the tables had it at one moment."""

    enrollment: Row[Any]
    message: Row[Any]
    person: Person
    rep: Rep
    campaign: Campaign
    plan: Plan
    standing: Standing
    number: int
    read_at: datetime
    draft: Row[Any] | None = None
    lost_draft: bool = False
    """Whether it is to leave with a text that is not there: whatever a message named."""
    earlier: tuple[Row[Any], ...] = ()
    """The emails before it, where it is a follow-up."""
    blobs: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The attachments' bytes, by their hash."""

    @property
    def planned(self) -> PlannedStep:
        """The step, as the calendar knows it."""
        return self.plan.step(self.number)

    @property
    def step(self) -> EmailStep:
        """The step, as the campaign file has it."""
        step = self.campaign.step(self.number)
        if not isinstance(step, EmailStep):
            raise TypeError(f"step {self.number} is no email")
        return step

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The files that travel with the email: the draft's, else the template's."""
        return attachments_of(self.campaign.step(self.number), self.draft)

    def changed_since(self, other: "Case") -> bool:
        """Whether what the letter was built from is another now."""
        return (
            self.person.revision != other.person.revision
            or (self.draft and self.draft.id) != (other.draft and other.draft.id)
            or [row.state for row in self.earlier] != [row.state for row in other.earlier]
        )


@dataclass(frozen=True, slots=True)
class Letter:
    """An email, ready to be stored and sent."""

    subject: str
    body: Body
    rendering: Body
    """The template's, before any edit: what a follow-up appends."""
    quote: Quote | None
    thread: Thread
    composed: Composed
    recipients: tuple[str, ...]

    def columns(self) -> dict[str, Any]:
        """What the email's row keeps of it."""
        return {
            "subject": self.subject,
            "rendering": self.rendering.model_dump(),
            "quote": self.quote.model_dump() if self.quote else None,
            "in_reply_to": self.thread.in_reply_to,
            "refs": list(self.thread.references),
            "stored": self.composed.stored,
            "sha256": self.composed.sha256,
            "attachments": list(self.composed.attachments),
        }


@dataclass(frozen=True, slots=True)
class Draftable:
    """What a rep is shown of an email before it is composed."""

    subject: str
    body: Body
    quote: Quote | None
    thread: Thread = field(repr=False)


class Letters:
    """Reads cases and builds letters. Its parts come from the worker, or the command."""

    def __init__(self, renderer: Renderer, links: Links, reps: Reps) -> None:
        self._renderer = renderer
        self._links = links
        self._reps = reps

    @property
    def renderer(self) -> Renderer:
        """What renders, for emails of people who are not enrolled yet."""
        return self._renderer

    async def read(
        self,
        tx: AsyncConnection,
        enrollment_id: str,
        number: int,
        draft_id: str | None,
        now: datetime,
        *,
        blobs: Mapping[str, bytes] | None = NO_BLOBS,
    ) -> Case:
        """Everything that the email of a step is made from.

        Args:
            tx: A write transaction: the email's row is made where there is none.
            enrollment_id: Whose.
            number: The step's.
            draft_id: The rep's text, where there is one.
            now: UTC.
            blobs: Attachments that are known already; they never change under their hash. None:
                nobody wants any, as nothing is composed.

        Raises:
            LookupError: The tables, or the reps file, lack something that must be there.
        """
        row = await _enrollment(tx, enrollment_id)
        message = await ledger.message(tx, enrollment_id, number)
        if message is None:
            await ledger.schedule(tx, row, number, None, now)
            message = await ledger.message(tx, enrollment_id, number)
        if message is None:
            raise RowMissing(f"email {number} of enrollment {enrollment_id} has no row")
        return await self._case(tx, row, message, draft_id, now, blobs)

    async def look(
        self,
        tx: AsyncConnection,
        enrollment_id: str,
        number: int,
        draft_id: str | None,
        now: datetime,
    ) -> Case | None:
        """As `read`, in any transaction; None where the email has no row yet."""
        row = await _enrollment(tx, enrollment_id)
        wanted = select(messages).where(
            messages.c.enrollment_id == enrollment_id, messages.c.step == number
        )
        message = (await tx.execute(wanted)).one_or_none()
        if message is None:
            return None
        return await self._case(tx, row, message, draft_id, now, NO_BLOBS)

    async def _case(
        self,
        tx: AsyncConnection,
        row: Row[Any],
        message: Row[Any],
        draft_id: str | None,
        now: datetime,
        blobs: Mapping[str, bytes] | None,
    ) -> Case:
        enrollment_id, number = message.enrollment_id, message.step
        rep = self._reps.by_id(row.rep_id)
        if rep is None:
            raise LookupError(f"the reps file knows no rep {row.rep_id}")
        plan = Plan.model_validate_json(row.plan)
        earlier: tuple[Row[Any], ...] = ()
        if plan.step(number).follow_up:
            earlier = tuple(await ledger.earlier(tx, enrollment_id, number))
        draft = None
        if draft_id is not None:
            # Of this email: a message may name any draft, another person's too.
            found = await tx.execute(
                select(drafts).where(
                    drafts.c.id == draft_id,
                    drafts.c.enrollment_id == enrollment_id,
                    drafts.c.step == number,
                )
            )
            draft = found.one_or_none()
        campaign = await campaigns.load(tx, row.version)
        contents: dict[str, bytes] = {}
        if blobs is not None:
            for file in attachments_of(campaign.step(number), draft):
                known = blobs.get(file.sha256)
                contents[file.sha256] = known or await campaigns.blob(tx, file.sha256)
        return Case(
            enrollment=row,
            message=message,
            person=Person(row.person_id, row.email, dict(row.fields), row.revision),
            rep=rep,
            campaign=campaign,
            blobs=contents,
            plan=plan,
            standing=Standing.model_validate_json(row.standing),
            number=number,
            read_at=now,
            draft=draft,
            lost_draft=draft_id is not None and draft is None,
            earlier=earlier,
        )

    async def show(self, case: Case) -> Draftable | Why:
        """The email as its template gives it, with what is appended; a reason where it cannot be.

        Field prompts are still in it.
        """
        if case.lost_draft:
            return NO_DRAFT
        rendering = await self._render(case)
        if isinstance(rendering, Why):
            return rendering
        thread = await self._thread(case, rendering.subject)
        if isinstance(thread, Why):
            return thread
        return Draftable(thread.subject, rendering, await self._quote(case, thread), thread)

    async def build(self, case: Case) -> Letter | Why:
        """The letter, or why it cannot be made: data, a prompt or a template to be mended."""
        if case.lost_draft:
            return NO_DRAFT
        rendering = await self._rendering_behind(case)
        if isinstance(rendering, Why):
            return rendering
        thread = await self._thread(case, rendering.subject)
        if isinstance(thread, Why):
            return thread
        body, subject, cc = rendering, thread.subject, ()
        if case.draft is not None:
            html = case.draft.html
            subject, cc = case.draft.subject, tuple(case.draft.cc)
            body = Body(subject=subject, html=html, text=templates.text_of(html))
        left = templates.check_typed(subject, body.html)
        if left is not None:
            prompts = templates.prompts_left(body)
            code = WhyCode.PROMPT_LEFT if prompts else WhyCode.TOKEN_LEFT
            return Why(code=code)
        appended = await self._quote(case, thread)
        letter = composing.Letter(
            message_id=case.message.message_id,
            date=case.read_at,
            sender=Party(case.rep.name, case.rep.email),
            to=Party(case.person.name, case.person.email),
            cc=cc,
            reply_to=case.rep.reply_to,
            subject=subject,
            body=body,
            quote=appended,
            unsubscribe_url=self._links.unsubscribe_url(case.enrollment.id),
            in_reply_to=thread.in_reply_to,
            references=thread.references,
            attachments=case.attachments,
        )
        try:
            composed = composing.compose(letter, case.blobs)
        except composing.BadHeader as error:
            # Its text names the header, never what stood there.
            return Why(code=WhyCode.TEMPLATE, detail=str(error))
        recipients = (case.person.email, *cc)
        return Letter(subject, body, rendering, appended, thread, composed, recipients)

    async def _rendering_behind(self, case: Case) -> Body | Why:
        """The rendering before any edit: the draft's, else the one of now."""
        if case.draft is not None:
            return Body.model_validate(case.draft.rendering)
        return await self._render(case)

    async def _render(self, case: Case) -> Body | Why:
        rep = case.rep
        values = templates.context(
            {**case.person.fields, "email": case.person.email},
            {
                "my_name": rep.name,
                "my_first_name": rep.name.split(" ")[0],
                "my_email": rep.email,
                "my_title": rep.title or "",
                "my_phone": rep.phone or "",
                "my_signature": rep.signature or "",
            },
            case.campaign.name,
            self._links.unsubscribe_url(case.enrollment.id),
        )
        try:
            body = await self._renderer.render(case.step.template, values)
        except (templates.TemplateError, RenderingStopped) as error:
            # Its text names neither person nor data.
            return Why(code=WhyCode.TEMPLATE, detail=str(error))
        if isinstance(body, MissingData):
            return Why(code=WhyCode.MISSING_DATA, detail=", ".join(body.tokens))
        return body

    async def _thread(self, case: Case, subject: str | None) -> Thread | Why:
        """What the email hangs on, from what became of the emails before it.

        Where its subject is that of an earlier email which cannot be rendered, the reason.
        """
        rows = {row.step: row for row in case.earlier}
        earlier, unknown = [], None
        for planned in _chain(case):
            row = rows.get(planned.number)
            rendering = await self._rendering_of(case, planned.number, row)
            earlier.append(_earlier(planned, row, rendering))
            if isinstance(rendering, Why):
                unknown = unknown or rendering
        try:
            return threads.thread(
                case.number,
                follow_up=case.planned.follow_up,
                template_subject=subject,
                earlier=earlier,
            )
        except ValueError:
            if unknown is None:
                raise
            return unknown

    async def _rendering_of(self, case: Case, number: int, row: Row[Any] | None) -> Body | Why:
        """The rendering that an earlier email was based on; made now where none was kept."""
        if row is not None and row.rendering is not None:
            return Body.model_validate(row.rendering)
        return await self._render(replace(case, number=number))

    async def _quote(self, case: Case, thread: Thread) -> Quote | None:
        """The previous email's template, as a mail program quotes it, with what it quoted."""
        row = next((row for row in case.earlier if row.step == thread.quotes), None)
        if row is None:
            return None
        rendering = await self._rendering_of(case, row.step, row)
        if isinstance(rendering, Why):
            return None
        quoted = Quote.model_validate(row.quote) if row.quote else None
        if quoted is None and row.elsewhere and case.plan.step(row.step).follow_up:
            before = tuple(other for other in case.earlier if other.step < row.step)
            other = replace(case, number=row.step, message=row, earlier=before)
            hung_on = await self._thread(other, rendering.subject)
            quoted = None if isinstance(hung_on, Why) else await self._quote(other, hung_on)
        return quote(
            rendering,
            quoted,
            sent_at=row.sent_at,
            zone=case.plan.zone,
            sender=case.rep.name,
            unsubscribe_url=self._links.unsubscribe_url(case.enrollment.id),
        )


def attachments_of(step: Step, draft: Row[Any] | None) -> tuple[Attachment, ...]:
    """The files of a step's email; none where the step is no email."""
    if not isinstance(step, EmailStep):
        return ()
    if draft is None or draft.attachments is None:
        return step.template.attachments
    return tuple(Attachment.model_validate(file) for file in draft.attachments)


async def _enrollment(tx: AsyncConnection, enrollment_id: str) -> Row[Any]:
    row = (await tx.execute(_WITH_PERSON, {"enrollment": enrollment_id})).one_or_none()
    if row is None:
        raise RowMissing(f"the tables know no enrollment {enrollment_id}")
    return row


# Made once, as each send reads it twice: see docs/measured.md.
_WITH_PERSON = (
    select(enrollments, people.c.email, people.c.fields, people.c.revision)
    .join(people, people.c.id == enrollments.c.person_id)
    .where(enrollments.c.id == bindparam("enrollment"))
)


def _chain(case: Case) -> list[PlannedStep]:
    """The emails that step after step lead to a follow-up, the first one first."""
    chain: list[PlannedStep] = []
    number = case.number
    while case.plan.step(number).follow_up:
        number -= 1
        chain.insert(0, case.plan.step(number))
    return chain


def _earlier(planned: PlannedStep, row: Row[Any] | None, rendering: Body | Why) -> EarlierEmail:
    subject = rendering.subject if isinstance(rendering, Body) else None
    email = EarlierEmail(planned.number, planned.follow_up, subject, Left.NOT_SENT)
    if row is None or row.state != MessageState.SENT:
        return email
    # Of an email that came back by a check, after a backup was restored, the subject is lost.
    sent_subject = row.subject or subject
    if row.elsewhere or sent_subject is None:
        return replace(email, left=Left.ELSEWHERE)
    return replace(
        email,
        left=Left.SENT,
        message_id=row.message_id,
        references=tuple(row.refs or ()),
        sent_subject=sent_subject,
    )


async def keep_shown(tx: AsyncConnection, case: Case, shown: Draftable, now: datetime) -> None:
    """Keep what a rep was shown of a task's email: what a follow-up appends if it goes elsewhere.

    An email that is being sent, or was, keeps the rendering that it was sent from.
    """
    await tx.execute(
        update(messages)
        .where(
            messages.c.enrollment_id == case.enrollment.id,
            messages.c.step == case.number,
            messages.c.state.in_((MessageState.SCHEDULED, MessageState.BLOCKED)),
        )
        .values(
            subject=shown.subject,
            rendering=shown.body.model_dump(),
            quote=shown.quote.model_dump() if shown.quote else None,
            updated_at=now,
        )
    )


async def task_zone(tx: AsyncConnection, case: Case) -> ZoneInfo | None:
    """Where the rep of a step's task is: it is on time while its date lasts there (R9)."""
    wanted = (
        select(reps.c.timezone)
        .join(tasks, tasks.c.rep_id == reps.c.id)
        .where(tasks.c.enrollment_id == case.enrollment.id, tasks.c.step == case.number)
    )
    name = (await tx.execute(wanted)).scalar_one_or_none()
    return ZoneInfo(name) if name else None


async def show_trouble(tx: AsyncConnection, case: Case, why: Why) -> None:
    """Leave a rep's task open, with the reason why its email did not leave."""
    await tx.execute(
        update(tasks)
        .where(tasks.c.enrollment_id == case.enrollment.id, tasks.c.step == case.number)
        .values(trouble=why.model_dump(mode="json"), status=TaskStatus.OPEN, send_at=None)
    )
