"""Many emails due at once for one mailbox: each asks once, waits for its place, and leaves."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from activities.outcomes import AWAITED
from drumbeat.campaign.states import Outcome
from drumbeat.reps import Limit, Mailbox
from drumbeat.store.schema import marks
from tests.activities.world import NOWHERE, campaign, email
from tests.mail.memory import MemoryMailer
from tests.office import Enrolled, Office, grace, open_office

PEOPLE = 60
BATCH = Limit(25, timedelta(seconds=45))


async def test_an_email_costs_at_most_two_activities_and_no_span_holds_too_many(
    tmp_path: Path, temporal_client: Client
) -> None:
    url, mailer = f"sqlite:///{tmp_path / 'drumbeat.db'}", MemoryMailer()
    limited = Mailbox("grace@example.com", NOWHERE, batch=BATCH, daily=1000)
    async with open_office(url, temporal_client, mailer, grace(mailbox=limited)) as office:
        at = datetime.now(UTC) + timedelta(hours=1)
        what = campaign(email(send="choose"))
        crowd = [
            await office.enroll(what, f"person{number}@example.org", send_at=at)
            for number in range(PEOPLE)
        ]
        slots = asyncio.Semaphore(10)

        async def walk(one: Enrolled) -> None:
            async with slots:
                await office.skip_until_sent(one, 1)

        await asyncio.gather(*(walk(one) for one in crowd))
        for one in crowd:
            assert (await one.handle.result()).outcome is Outcome.COMPLETED
        activities = [await sends(one) for one in crowd]
        # Who comes within the first batch asks once; who has waited for a place goes first.
        assert Counter(activities) == {(0,): BATCH.count, (0, AWAITED): PEOPLE - BATCH.count}
        assert await fullest_span(office) <= BATCH.count
    assert len({received.recipients for received in mailer.received}) == PEOPLE
    assert len(mailer.received) == PEOPLE


async def sends(one: Enrolled) -> tuple[int, ...]:
    """The priority of each activity that was to send an email; 0 where none is said."""
    history = await one.handle.fetch_history()
    scheduled = [
        event.activity_task_scheduled_event_attributes
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
    sending = [one for one in scheduled if one.activity_type.name == "send_email"]
    return tuple(one.priority.priority_key for one in sending)


async def fullest_span(office: Office) -> int:
    """The most emails that were handed over within any span of the batch limit's length."""
    async with office.store.read() as tx:
        found = await tx.execute(select(marks.c.at).where(marks.c.handed_over))
        ats: list[datetime] = list(found.scalars())
    return max(sum(at <= other < at + BATCH.span for other in ats) for at in ats)
