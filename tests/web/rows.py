"""A person's enrollments as rows alone, for what only reads and writes tables."""

import secrets
from datetime import UTC, datetime, time

from sqlalchemy import Table, insert, select

from drumbeat.campaign import calendar
from drumbeat.campaign.model import Campaign, Day, EmailStep, Send, TaskStep, Template
from drumbeat.campaign.states import MessageState, State
from drumbeat.store import keys
from drumbeat.store.engine import Store, insert_new
from drumbeat.store.schema import campaign_versions, campaigns, enrollments, messages, people, reps
from tests.campaign.building import email, plan_of, task

AT = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
GRACE = "r0123456789ab"
PLAN = plan_of(email(1, "choose"), task(1), email(3, "09:30"), chosen="2026-11-24T09:30")


def _content(slug: str) -> str:
    """A campaign's version that goes with the plan."""
    letter = Template(name="intro", subject="Hello", body="Hello.", is_html=False)
    first = EmailStep(template=letter, send=Send.CHOOSE)
    call = TaskStep(kind="call", subject="Introduce yourself")
    third = EmailStep(template=letter, send=Send.FIXED, send_time=time(9, 30))
    days = (Day(day=1, steps=(first, call)), Day(day=3, steps=(third,)))
    return Campaign(slug=slug, name=slug, days=days).model_dump_json()


async def enrolled(
    store: Store,
    address: str = "ada@example.org",
    campaign: str = "intro-q4",
    *,
    outcome: str | None = None,
    sent: int = 0,
) -> str:
    """Enroll a person with Grace; the enrollment's id.

    Args:
        store: The database.
        address: The person's, normalised.
        campaign: A slug.
        outcome: How it has ended; None: it is running.
        sent: How many emails have left.
    """
    enrollment_id = secrets.token_hex(8)
    async with store.write() as tx:
        person_id = keys.person_id(await keys.people_key(tx), address)
        rep = {"id": GRACE, "email": "grace@example.com", "name": "Grace Hopper"}
        await insert_new(tx, reps, {**rep, "updated_at": AT})
        found = await tx.execute(select(reps.c.id).where(reps.c.email == rep["email"]))
        grace: str = found.scalar_one()
        await insert_new(tx, campaigns, {"slug": campaign, "name": campaign, "created_at": AT})
        version = {"version": f"v-{campaign}", "slug": campaign, "content": _content(campaign)}
        await insert_new(tx, campaign_versions, {**version, "created_at": AT, "used_at": AT})
        person = {"id": person_id, "email": address, "fields": {}, "revision": 1}
        await insert_new(tx, people, {**person, "created_at": AT, "updated_at": AT})
        await tx.execute(
            insert(enrollments).values(
                id=enrollment_id,
                workflow_id=f"campaign/{campaign}/{person_id}",
                campaign=campaign,
                version=f"v-{campaign}",
                person_id=person_id,
                rep_id=grace,
                round=secrets.randbelow(1_000_000),
                plan=PLAN.model_dump_json(),
                standing=calendar.begin(PLAN).model_dump_json(),
                kickoff=AT,
                started_at=AT,
                state=State.ENDED if outcome else State.SLEEPING,
                outcome=outcome,
                ended_at=AT if outcome else None,
            )
        )
        for step in range(1, sent + 1):
            await tx.execute(
                insert(messages).values(
                    enrollment_id=enrollment_id,
                    step=step,
                    mailbox=grace,
                    state=MessageState.SENT,
                    first=step == 1,
                    message_id=f"<{enrollment_id}.{step}@example.com>",
                    sent_at=AT,
                    updated_at=AT,
                )
            )
    return enrollment_id


async def all_rows(store: Store, table: Table) -> list[dict[str, object]]:
    """What a table holds, in the order of its key."""
    async with store.read() as tx:
        found = await tx.execute(select(table).order_by(*table.primary_key))
        return [dict(row._mapping) for row in found]
