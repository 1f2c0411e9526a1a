"""A whole Drumbeat in one test process: tables, activities, workflow worker and a mail server.

Time is virtual: a workflow's time is skipped, and the tables' clock follows it inside activities.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, insert, select, update
from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import TimeSkipper

from activities.letters import Letters
from drumbeat.actions.desk import Desk
from drumbeat.campaign import calendar
from drumbeat.campaign.calendar import Plan
from drumbeat.campaign.model import Campaign
from drumbeat.campaign.planning import make_plan
from drumbeat.campaign.states import State, Why, WhyCode
from drumbeat.mail.links import Links
from drumbeat.mail.rendering import Renderer
from drumbeat.mail.sending import Mailer
from drumbeat.reps import Mailbox, Rep, Reps, Server, Tls
from drumbeat.settings import Settings
from drumbeat.store import campaigns, keys, ledger, reps
from drumbeat.store.engine import Store, insert_new, migrate, open_store
from drumbeat.store.schema import drafts, enrollments, events, messages, people, tasks
from worker import build_worker
from workflows.campaign import CampaignWorkflow
from workflows.messages import CampaignInput, CampaignResult, Progress

SECRET = "an-example-secret-key-0123456789abcdef"
Handle = WorkflowHandle[CampaignWorkflow, CampaignResult]


def grace(smtp_port: int = 2525, **changes: Any) -> Rep:
    """A rep in New York whose mailbox, on this machine, has no limits."""
    smtp = Server("127.0.0.1", smtp_port, Tls.NONE)
    mailbox = Mailbox("grace@example.com", smtp, batch=None, daily=None)
    values: dict[str, Any] = {
        "email": "grace@example.com",
        "name": "Grace Hopper",
        "timezone": "America/New_York",
        "signature": "Grace Hopper\nExample Inc.",
        "mailbox": mailbox,
    }
    return Rep(**(values | changes))


def virtual_now() -> datetime:
    """The time of the activity that asks; outside activities the machine's."""
    return activity.info().started_time if activity.in_activity() else datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """One enrollment and its workflow."""

    id: str
    person_id: str
    handle: Handle


class Office:
    """What tests drive."""

    def __init__(
        self, store: Store, client: Client, letters: Letters, known: Reps, mailer: Mailer
    ) -> None:
        self.store = store
        self.client = client
        self.letters = letters
        self.reps = known
        self.mailer = mailer
        self.task_queue = f"office-{secrets.token_hex(6)}"
        self.skipper = TimeSkipper(client)
        self._skipped: dict[str, timedelta] = {}

    @property
    def desk(self) -> Desk:
        async def connected() -> Client:
            return self.client

        return Desk(self.store, connected)

    async def enroll(
        self,
        campaign: Campaign,
        address: str = "ada@example.org",
        fields: Mapping[str, str] | None = None,
        *,
        attachments: Mapping[str, bytes] | None = None,
        kickoff: datetime | None = None,
        send_at: datetime | str | None = None,
        round: int = 1,
    ) -> Enrolled:
        """Enroll one person, as the command does, and start the workflow."""
        now = datetime.now(UTC)
        rep = next(iter(self.reps))
        rep_id = self.reps.id_of(rep)
        plan = make_plan(
            campaign,
            kickoff=kickoff or now,
            person_zone=None,
            rep_zone=rep.timezone,
            send_at=send_at,
        )
        enrollment_id = secrets.token_hex(8)
        async with self.store.write() as tx:
            person_id = keys.person_id(await keys.people_key(tx), address)
            version = await campaigns.save(tx, campaign, attachments or {}, now)
            person = {
                "id": person_id,
                "email": address,
                "fields": dict(fields or {"first_name": "Ada"}),
                "revision": 1,
                "created_at": now,
                "updated_at": now,
            }
            await insert_new(tx, people, person)
            workflow_id = f"campaign/{campaign.slug}/{person_id}"
            standing = calendar.begin(plan)
            await tx.execute(
                insert(enrollments).values(
                    id=enrollment_id,
                    workflow_id=workflow_id,
                    campaign=campaign.slug,
                    version=version,
                    person_id=person_id,
                    rep_id=rep_id,
                    round=round,
                    plan=plan.model_dump_json(),
                    standing=standing.model_dump_json(),
                    kickoff=plan.kickoff,
                    started_at=now,
                    state=State.SLEEPING,
                    step=1,
                    why=Why(code=WhyCode.TIME).model_dump(mode="json"),
                )
            )
            if plan.step(1).kind == "email":
                row = await ledger.enrollment(tx, enrollment_id)
                await ledger.schedule(tx, row, 1, None, now)
        handle = await self.client.start_workflow(
            CampaignWorkflow.run,
            campaign_input(campaign, enrollment_id, rep_id, plan),
            id=workflow_id,
            task_queue=self.task_queue,
            memo={"enrollment": enrollment_id},
        )
        return Enrolled(enrollment_id, person_id, handle)

    async def skip(self, enrolled: Enrolled, **delta: float) -> None:
        await self._skip(enrolled, timedelta(**delta))

    async def _skip(self, enrolled: Enrolled, delta: timedelta) -> None:
        await self.skipper.fast_forward(enrolled.handle, delta)
        before = self._skipped.get(enrolled.id, timedelta())
        self._skipped[enrolled.id] = before + delta

    async def until(self, enrolled: Enrolled, is_so: Callable[[Progress], bool]) -> Progress:
        """Ask for the progress until it is as wanted: each question waits for the workflow."""
        async with asyncio.timeout(20):
            while True:
                progress = await enrolled.handle.query(CampaignWorkflow.progress)
                if is_so(progress):
                    return progress

    async def skip_until_sent(self, enrolled: Enrolled, step: int) -> Row[Any]:
        """Skip to the step's time and wait until its email is recorded as sent."""
        while True:
            row = await self.message(enrolled, step)
            if row is not None and row.state == "sent":
                return row
            await self.skip_to_next(enrolled, up_to=step)

    async def until_task(self, enrolled: Enrolled, step: int) -> None:
        """Skip to the step's day and wait until its task is open."""
        while await self.task(enrolled, step) is None:
            await self.skip_to_next(enrolled, up_to=step)

    async def skip_to_next(self, enrolled: Enrolled, *, up_to: int | None = None) -> None:
        """Skip to when the workflow does something by itself, if that is not at once.

        Not where it has gone past the step `up_to` meanwhile: it would go one step too far.
        """
        progress = await enrolled.handle.query(CampaignWorkflow.progress)
        is_past = up_to is not None and progress.step is not None and progress.step > up_to
        if progress.next_at_utc is None or is_past:
            return
        virtual = datetime.now(UTC) + self._skipped.get(enrolled.id, timedelta())
        wait = progress.next_at_utc - virtual
        if wait > timedelta(seconds=2):
            await self._skip(enrolled, wait)

    async def message(self, enrolled: Enrolled, step: int) -> Row[Any] | None:
        wanted = select(messages).where(
            messages.c.enrollment_id == enrolled.id, messages.c.step == step
        )
        async with self.store.read() as tx:
            return (await tx.execute(wanted)).one_or_none()

    async def task(self, enrolled: Enrolled, step: int) -> Row[Any] | None:
        wanted = select(tasks).where(tasks.c.enrollment_id == enrolled.id, tasks.c.step == step)
        async with self.store.read() as tx:
            return (await tx.execute(wanted)).one_or_none()

    async def mend(self, enrolled: Enrolled, **fields: str) -> None:
        """Change a person's data, as `person mend` does."""
        async with self.store.write() as tx:
            row = (await tx.execute(select(people).where(people.c.id == enrolled.person_id))).one()
            values = {"fields": {**row.fields, **fields}, "revision": row.revision + 1}
            await tx.execute(update(people).where(people.c.id == row.id).values(values))

    async def row(self, enrolled: Enrolled) -> Row[Any]:
        async with self.store.read() as tx:
            return (
                await tx.execute(select(enrollments).where(enrollments.c.id == enrolled.id))
            ).one()

    async def timeline(self, enrolled: Enrolled) -> list[str]:
        """What happened, by the tables."""
        wanted = select(events.c.what).where(events.c.enrollment_id == enrolled.id)
        async with self.store.read() as tx:
            return list((await tx.execute(wanted.order_by(events.c.at, events.c.id))).scalars())

    async def draft(self, enrolled: Enrolled, step: int, subject: str, html: str) -> str:
        """A rep's text, based on the template's rendering."""
        async with self.store.write() as tx:
            now = await self.store.now(tx)
            case = await self.letters.read(tx, enrolled.id, step, None, now)
        shown = await self.letters.show(case)
        assert not isinstance(shown, Why)
        draft_id = f"d{secrets.token_hex(8)}"
        async with self.store.write() as tx:
            await tx.execute(
                insert(drafts).values(
                    id=draft_id,
                    enrollment_id=enrolled.id,
                    step=step,
                    subject=subject,
                    html=html,
                    cc=[],
                    rendering=shown.body.model_dump(),
                    who="r0123456789ab",
                    at=now,
                )
            )
        return draft_id


def campaign_input(
    campaign: Campaign, enrollment_id: str, rep_id: str, plan: Plan
) -> CampaignInput:
    """What the enrollment's workflow is started with."""
    return CampaignInput(
        enrollment_id=enrollment_id,
        campaign=campaign.slug,
        rep_id=rep_id,
        rep_zone=plan.zone,
        plan=plan,
        on_reply=campaign.settings.on_reply,
        remove_on_bounce=campaign.settings.remove_on_bounce,
    )


@asynccontextmanager
async def open_office(
    url: str, client: Client, mailer: Mailer, *people_who_write: Rep, **settings: Any
) -> AsyncIterator[Office]:
    """An office whose worker runs until the block ends."""
    await migrate(url)
    store = await open_store(url, clock=virtual_now)
    try:
        async with store.write() as tx:
            known = Reps(people_who_write or (grace(),), await keys.people_key(tx))
            await reps.sync(tx, known, await store.now(tx))
        async with Renderer() as renderer:
            letters = Letters(renderer, Links("http://127.0.0.1:8080", [SECRET]), known)
            office = Office(store, client, letters, known, mailer)
            given = Settings(task_queue=office.task_queue, **settings)
            async with build_worker(client, given, store, letters, mailer):
                yield office
    finally:
        await store.close()
