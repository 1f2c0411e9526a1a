"""Real tables, real letters and a clock of their own, for activities that run without a server.

An enrollment is walked by the workflow's own state, so that activities are asked what the workflow
would ask them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, Table, insert, select, update
from temporalio.testing import ActivityEnvironment

from activities.emails import Emails
from activities.enrollments import Enrollments
from activities.letters import Letters
from activities.outcomes import OpenOutcome, OpenTask, SendEmail, SendOutcome
from activities.tasks import Tasks
from drumbeat.campaign.model import (
    Attachment,
    Campaign,
    Day,
    EmailStep,
    Send,
    Settings,
    Step,
    TaskStep,
    Template,
)
from drumbeat.campaign.planning import make_plan
from drumbeat.campaign.states import MessageState, State
from drumbeat.mail.links import Links
from drumbeat.mail.rendering import Renderer
from drumbeat.mail.sending import Mailer
from drumbeat.reps import Mailbox, Rep, Reps, Server, Tls
from drumbeat.store import campaigns, keys
from drumbeat.store import reps as store_reps
from drumbeat.store.engine import Store
from drumbeat.store.schema import (
    blobs,
    drafts,
    enrollments,
    events,
    holds,
    mailboxes,
    marks,
    messages,
    outbox,
    people,
    tasks,
)
from tests.mail.memory import MemoryMailer
from workflows.enrollment import Enrollment
from workflows.messages import CampaignInput

NEW_YORK = ZoneInfo("America/New_York")
LINKS = Links("https://beat.example.com", ["an-example-secret-key-0123456789abcdef"])
NOWHERE = Server("127.0.0.1", 1, Tls.NONE)


def local(text: str) -> datetime:
    """A moment by the clock in New York, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC)


MONDAY = local("2026-11-23T08:00")
"""The kickoff of every enrollment."""


class Clock:
    """Stands still until a test moves it."""

    def __init__(self, now: datetime = MONDAY) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


def email(
    body: str = "<p>Hello {{ first_name }}</p>",
    *,
    subject: str | None = "About {{ company }}",
    send: str = "09:30",
    follow_up: bool = False,
    attachments: tuple[Attachment, ...] = (),
) -> EmailStep:
    """An email; `send` as in a campaign file."""
    at = time.fromisoformat(send) if ":" in send else None
    template = Template(
        name="intro", subject=subject, body=body, is_html=True, attachments=attachments
    )
    return EmailStep(
        template=template,
        send=Send.FIXED if at else Send(send),
        send_time=at,
        follow_up=follow_up,
    )


def bump(
    body: str = "<p>Did you see this?</p>", *, subject: str | None = None, send: str = "09:30"
) -> EmailStep:
    """A follow-up."""
    return email(body, subject=subject, send=send, follow_up=True)


def call() -> TaskStep:
    return TaskStep(kind="call", subject="Introduce yourself", notes="Ask about the migration.")


def campaign(*steps: Step, days: Sequence[int] | None = None, **settings: Any) -> Campaign:
    """A campaign with a step on each of its days: 1, 2, 3 … where none are given."""
    by_day: dict[int, list[Step]] = {}
    for day, step in zip(days or range(1, len(steps) + 1), steps, strict=True):
        by_day.setdefault(day, []).append(step)
    return Campaign(
        slug="intro-q4",
        name="Q4 introduction",
        settings=Settings(**settings),
        days=tuple(Day(day=day, steps=tuple(found)) for day, found in by_day.items()),
    )


def attachment(data: bytes, path: str = "price list.pdf") -> Attachment:
    return Attachment(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


class World:
    """What tests drive."""

    def __init__(self, store: Store, clock: Clock, renderer: Renderer) -> None:
        self.store = store
        self.clock = clock
        self.renderer = renderer
        self.memory = MemoryMailer()
        self.mailer: Mailer = self.memory
        self.rep_id = ""
        self.letters: Letters

    async def staff(self, mailbox: Mailbox | None = None, **changes: Any) -> None:
        """Let Grace write, from New York and without limits where nothing else is said."""
        mailbox = mailbox or Mailbox("grace@example.com", NOWHERE, batch=None, daily=None)
        details: dict[str, Any] = {
            "email": "grace@example.com",
            "name": "Grace Hopper",
            "mailbox": mailbox,
            "timezone": "America/New_York",
            "signature": "Grace Hopper\nExample Inc.",
        }
        rep = Rep(**(details | changes))
        async with self.store.write() as tx:
            reps = Reps([rep], await keys.people_key(tx))
            await store_reps.sync(tx, reps, self.clock())
        self.rep_id = reps.id_of(rep)
        self.letters = Letters(self.renderer, LINKS, reps)

    async def enroll(
        self,
        what: Campaign,
        address: str = "ada@example.org",
        *,
        data: Mapping[str, bytes] | None = None,
        **fields: str,
    ) -> "Walk":
        """A person at the first step of a campaign."""
        now = self.clock()
        plan = make_plan(
            what, kickoff=now, person_zone=None, rep_zone="America/New_York", send_at=None
        )
        enrollment_id = hashlib.sha256(address.encode()).hexdigest()[:16]
        start = CampaignInput(
            enrollment_id=enrollment_id,
            campaign=what.slug,
            rep_id=self.rep_id,
            rep_zone=NEW_YORK,
            plan=plan,
            on_reply=what.settings.on_reply,
            remove_on_bounce=what.settings.remove_on_bounce,
        )
        state = Enrollment.begin(start)
        async with self.store.write() as tx:
            person_id = keys.person_id(await keys.people_key(tx), address)
            version = await campaigns.save(tx, what, data or {}, now)
            person = {
                "id": person_id,
                "email": address,
                "fields": {"first_name": "Ada", "company": "Engines"} | fields,
                "revision": 1,
                "created_at": now,
                "updated_at": now,
            }
            await tx.execute(insert(people).values(person))
            row = {
                "id": enrollment_id,
                "workflow_id": f"campaign/{what.slug}/{person_id}",
                "campaign": what.slug,
                "version": version,
                "person_id": person_id,
                "rep_id": self.rep_id,
                "round": 1,
                "plan": plan.model_dump_json(),
                "standing": state.standing.model_dump_json(),
                "kickoff": now,
                "state": State.SLEEPING,
            }
            await tx.execute(insert(enrollments).values(row))
        state.reach(plan.step(1), now)
        return Walk(self, state, address, person_id)

    async def rows(self, table: Table, *where: Any) -> Sequence[Row[Any]]:
        async with self.store.read() as tx:
            return (await tx.execute(select(table).where(*where))).all()

    async def holds(self) -> Sequence[Row[Any]]:
        return await self.rows(holds)

    async def outbox(self) -> Sequence[Row[Any]]:
        return await self.rows(outbox)

    async def marks(self) -> Sequence[Row[Any]]:
        return await self.rows(marks)

    async def blobs(self) -> Sequence[Row[Any]]:
        return await self.rows(blobs)

    async def mailbox(self) -> Row[Any]:
        return (await self.rows(mailboxes))[0]


class Walk:
    """One enrollment, with the workflow's state of it."""

    def __init__(self, world: World, state: Enrollment, address: str, person_id: str) -> None:
        self.world = world
        self.state = state
        self.address = address
        self.person_id = person_id
        self.id = state.id
        self.last: SendEmail | None = None
        self._phase = state.phase

    def due(self) -> "Walk":
        """Let the clock stand where the current step is due."""
        self.world.clock.now = max(self.state.due.at, self.world.clock.now)
        return self

    def asking(self, *, by_rep: bool = False, **changes: Any) -> SendEmail:
        """What the workflow would ask of the send activity now."""
        state = self.state
        record, seq = state.record(), state.reserve()
        self._phase, state.phase = state.phase, State.SENDING
        self.last = SendEmail(
            record=record,
            step=state.step,
            due_at=state.due.at,
            due_on=state.due.on,
            seq=seq,
            draft_id=state.drafts.get(state.step),
            by_rep=by_rep,
            released=tuple(state.released),
        ).model_copy(update=changes)
        return self.last

    async def run(self, send: SendEmail, mailer: Mailer | None = None) -> SendOutcome:
        """One attempt of the send activity; the workflow hears nothing of it."""
        world = self.world
        emails = Emails(world.store, world.letters, mailer or world.mailer)
        result = await ActivityEnvironment().run(emails.send_email, send)
        return result.outcome

    async def again(self, mailer: Mailer | None = None) -> SendOutcome:
        """The same activity once more, as after a death; the workflow hears nothing of it."""
        assert self.last is not None
        return await self.run(self.last, mailer)

    async def send(self, mailer: Mailer | None = None, **asked: Any) -> SendOutcome:
        """Send the current step's email as the workflow does, and go on as it does."""
        send = self.asking(**asked)
        outcome = await self.run(send, mailer)
        self.hears(send, outcome)
        return outcome

    def hears(self, send: SendEmail, outcome: SendOutcome) -> None:
        """Let the workflow hear what came of it, and reach the next step where this is over."""
        state, now = self.state, self.world.clock()
        state.phase = self._phase
        state.recorded(send.record)
        state.sent(outcome, send.seq, now, by_rep=send.by_rep)
        self.go_on()

    def skip(self) -> None:
        """Let somebody skip the current step."""
        self.state.skip_current(self.world.clock(), None, None, "skipped")  # type: ignore[arg-type]
        self.go_on()

    def go_on(self) -> None:
        """Reach the next step where the current one is over."""
        state, now = self.state, self.world.clock()
        if state.is_over and state.outcome is None and state.step < len(state.plan.steps):
            state.reach(state.plan.step(state.step + 1), now)

    async def open_task(self) -> OpenOutcome:
        """Open the current step's task as the workflow does."""
        state = self.state
        record, seq = state.record(), state.reserve()
        task = OpenTask(
            record=record,
            step=state.step,
            due=state.due.on,
            seq=seq,
            rep_id=state.rep_id,
            released=tuple(state.released),
        )
        result = await ActivityEnvironment().run(Tasks(self.world.store).open_task, task)
        state.recorded(record)
        state.opening(result.outcome, seq, self.world.clock())
        return result.outcome

    async def record(self) -> None:
        """Bring the tables up to date as the workflow does."""
        record = self.state.record()
        await ActivityEnvironment().run(Enrollments(self.world.store).record, record)
        self.state.recorded(record)

    async def draft(self, subject: str, html: str, cc: Sequence[str] = ()) -> str:
        """Keep a rep's text for the current step, over the rendering of now."""
        store, step = self.world.store, self.state.step
        async with store.write() as tx:
            case = await self.world.letters.read(tx, self.id, step, None, self.world.clock())
        shown = await self.world.letters.show(case)
        rendering = shown.body.model_dump() if hasattr(shown, "body") else {}
        draft_id = f"d{step:016x}"
        async with store.write() as tx:
            row = {
                "id": draft_id,
                "enrollment_id": self.id,
                "step": step,
                "subject": subject,
                "html": html,
                "cc": list(cc),
                "rendering": rendering,
                "who": self.world.rep_id,
                "at": self.world.clock(),
            }
            await tx.execute(insert(drafts).values(row))
        self.state.drafts[step] = draft_id
        return draft_id

    async def mend(self, **fields: str) -> None:
        """Change the person's data."""
        async with self.world.store.write() as tx:
            row = (await tx.execute(select(people).where(people.c.id == self.person_id))).one()
            values = {"fields": {**row.fields, **fields}, "revision": row.revision + 1}
            await tx.execute(update(people).where(people.c.id == self.person_id).values(values))

    async def change_row(self, **values: Any) -> None:
        """Change the enrollment's row behind the workflow's back."""
        async with self.world.store.write() as tx:
            await tx.execute(
                update(enrollments).where(enrollments.c.id == self.id).values(**values)
            )

    async def row(self) -> Row[Any]:
        return (await self.world.rows(enrollments, enrollments.c.id == self.id))[0]

    async def message(self, step: int | None = None) -> Row[Any]:
        """The row of a step's email; the current step's where none is said."""
        number = step or self.state.step
        found = await self.world.rows(
            messages, messages.c.enrollment_id == self.id, messages.c.step == number
        )
        return found[0]

    async def state_of(self, step: int | None = None) -> MessageState:
        return MessageState((await self.message(step)).state)

    async def task(self, step: int | None = None) -> Row[Any]:
        number = step or self.state.step
        return (
            await self.world.rows(tasks, tasks.c.enrollment_id == self.id, tasks.c.step == number)
        )[0]

    async def happened(self) -> list[str]:
        """What the timeline says, in order."""
        found = await self.world.rows(events, events.c.enrollment_id == self.id)
        return [row.what for row in sorted(found, key=lambda row: (row.at, row.id))]


def on(text: str) -> date:
    return date.fromisoformat(text)
