"""Rows that other rows point to."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign import calendar
from drumbeat.campaign.model import Campaign, Day, EmailStep, Send, TaskStep, Template
from drumbeat.campaign.planning import make_plan
from drumbeat.store import campaigns
from drumbeat.store.schema import enrollments, people, reps

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
REP = "r0123456789ab"


def campaign(slug: str = "intro", name: str = "Introduction") -> Campaign:
    """A call on day 1, emails by the rep on days 2 and 3."""
    email = EmailStep(
        template=Template(name="intro", subject="Hello", body="<p>Hello</p>", is_html=True),
        send=Send.TASK,
    )
    call = TaskStep(kind="call", subject="Call")
    days = (Day(day=1, steps=(call,)), Day(day=2, steps=(email,)), Day(day=3, steps=(email,)))
    return Campaign(slug=slug, name=name, days=days)


async def rep(tx: AsyncConnection, rep_id: str = REP) -> None:
    row = {"id": rep_id, "email": f"{rep_id}@example.com", "name": "Grace", "updated_at": NOW}
    await tx.execute(insert(reps).values(row))


async def enrollment(
    tx: AsyncConnection,
    enrollment_id: str,
    *,
    person: str = "p1",
    rep_id: str = REP,
    what: Campaign | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Row[Any]:
    """An enrollment with everything that it points to; the rep is there already."""
    what = what or campaign()
    version = await campaigns.save(tx, what, {}, NOW)
    found = await tx.execute(select(people.c.id).where(people.c.id == person))
    if found.first() is None:
        row = {
            "id": person,
            "email": f"{person}@example.org",
            "fields": {},
            "revision": 1,
            "created_at": NOW,
            "updated_at": NOW,
        }
        await tx.execute(insert(people).values(row))
    plan = make_plan(what, kickoff=NOW, person_zone=None, rep_zone=None)
    values: dict[str, Any] = {
        "id": enrollment_id,
        "workflow_id": f"campaign/{what.slug}/{person}",
        "campaign": what.slug,
        "version": version,
        "person_id": person,
        "rep_id": rep_id,
        "round": 1,
        "plan": plan.model_dump_json(),
        "standing": calendar.begin(plan).model_dump_json(),
        "kickoff": NOW,
        "state": "sleeping",
    }
    await tx.execute(insert(enrollments).values(values | dict(changes or {})))
    found = await tx.execute(select(enrollments).where(enrollments.c.id == enrollment_id))
    return found.one()
