"""Reps at their pages: a site over a whole office, and rows for lists."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from httpx2 import AsyncClient
from sqlalchemy import event, insert
from temporalio.client import Client

from drumbeat.campaign import calendar
from drumbeat.campaign.model import Campaign, Day, EmailStep, Send, Settings, TaskStep, Template
from drumbeat.campaign.planning import make_plan
from drumbeat.mail.links import Links
from drumbeat.store import campaigns, keys
from drumbeat.store.engine import Store
from drumbeat.store.schema import enrollments, people, tasks
from drumbeat.store.users import Role
from drumbeat.web.site import Site
from tests.actions.desks import alan
from tests.mail.memory import MemoryMailer
from tests.office import SECRET, Office, grace, open_office
from tests.web.site import make_site, signed_in

OUTCOMES = ("Connected", "Left voicemail")


@dataclass(frozen=True, slots=True)
class AtWork:
    """An office, the site over it, and Grace's browser."""

    office: Office
    site: Site
    mailer: MemoryMailer
    grace: AsyncClient


@asynccontextmanager
async def at_work(store: Store, client: Client, role: Role = Role.REP) -> AsyncIterator[AtWork]:
    """Grace and Alan at work, with real workflows."""
    mailer = MemoryMailer()
    url = store._url.render_as_string(hide_password=False)

    async def connected() -> Client:
        return client

    async with open_office(url, client, mailer, grace(), alan()) as office:
        site = await make_site(
            office.store,
            grace(),
            alan(),
            links=Links("http://127.0.0.1:8080", [SECRET]),
            renderer=office.letters._renderer,
            connect=connected,
        )
        async with await signed_in(site, role=role) as browser:
            yield AtWork(office, site, mailer, browser)


def usual_campaign() -> Campaign:
    """An email, a call, and two days later an InMail."""
    welcome = Template(name="Welcome", subject="Hello", body="<p>Hello</p>", is_html=True)
    return Campaign(
        slug="intro-q4",
        name="Q4 introduction",
        settings=Settings(timezone="America/New_York", call_outcomes=OUTCOMES),
        days=(
            Day(
                day=1,
                steps=(
                    EmailStep(template=welcome, send=Send.FIXED, send_time="09:00"),
                    TaskStep(kind="call", subject="Introduce yourself"),
                ),
            ),
            Day(day=3, steps=(TaskStep(kind="inmail", subject="Connect on LinkedIn"),)),
        ),
    )


async def queued(
    site: Site,
    number: int,
    *,
    fields: dict[str, str] | None = None,
    due: int = 0,
    rep: str = "grace@example.com",
    sleeps_until: datetime | None = None,
    **values: Any,
) -> str:
    """One person with a call to make, as rows alone; the task's id.

    Args:
        site: Whose reps it is for.
        number: Makes the person's address.
        fields: The person's.
        due: Days from the rep's today.
        rep: Whose task and enrollment it is.
        sleeps_until: Instead of the task, the enrollment waits for that moment at step 1.
        values: Other columns of the task.
    """
    store = site.store
    enrollment_id = secrets.token_hex(8)
    async with store.write() as tx:
        now = await store.now(tx)
        address = f"person{number}@example.org"
        person_id = keys.person_id(await keys.people_key(tx), address)
        campaign = usual_campaign()
        version = await campaigns.save(tx, campaign, {}, now)
        known = site.reps.by_address(rep)
        assert known is not None
        rep_id = site.reps.id_of(known)
        given = fields if fields is not None else {"first_name": "Ada", "last_name": f"No{number}"}
        person = {"id": person_id, "email": address, "fields": given, "revision": 1}
        await tx.execute(insert(people).values(**person, created_at=now, updated_at=now))
        plan = make_plan(
            campaign, kickoff=now, person_zone=None, rep_zone=known.timezone, send_at=None
        )
        await tx.execute(
            insert(enrollments).values(
                id=enrollment_id,
                workflow_id=f"campaign/intro-q4/{person_id}",
                campaign="intro-q4",
                version=version,
                person_id=person_id,
                rep_id=rep_id,
                round=1,
                plan=plan.model_dump_json(),
                standing=calendar.begin(plan).model_dump_json(),
                kickoff=now,
                started_at=now,
                state="sleeping" if sleeps_until else "task",
                step=1 if sleeps_until else 2,
                next_at=sleeps_until,
            )
        )
        task = {
            "id": f"{enrollment_id}-2",
            "enrollment_id": enrollment_id,
            "person_id": person_id,
            "campaign": "intro-q4",
            "step": 2,
            "kind": "call",
            "subject": "Introduce yourself",
            "rep_id": rep_id,
            "due": here(known.timezone) + timedelta(days=due),
            "priority": "normal",
            "status": "open",
            "opened_at": now,
        } | values
        if sleeps_until is None:
            await tx.execute(insert(tasks).values(task))
    return str(task["id"])


def here(timezone: str | None) -> date:
    """Today, in a rep's zone."""
    return datetime.now(UTC).astimezone(ZoneInfo(timezone or "UTC")).date()


@asynccontextmanager
async def counted(store: Store) -> AsyncIterator[list[str]]:
    """The queries that are made while the block lasts; to ask for the time is none."""
    made: list[str] = []

    def note(*given: Any) -> None:
        statement = str(given[2])
        is_read = statement.lstrip().upper().startswith(("SELECT", "WITH"))
        if is_read and "clock_timestamp()" not in statement:
            made.append(statement)

    engine = store._reader.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield made
    finally:
        event.remove(engine, "before_cursor_execute", note)
