"""Enrollments in the tables, on both databases."""

import secrets
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update

from drumbeat.campaign.model import Campaign, Day, TaskStep
from drumbeat.campaign.people import PersonRow
from drumbeat.reps import Reps
from drumbeat.store import campaigns, enrollments, people, reps
from drumbeat.store.engine import Store
from drumbeat.store.enrollments import New
from drumbeat.store.keys import people_key, person_id
from drumbeat.store.schema import enrollments as table
from drumbeat.store.schema import events, messages, outbox
from tests.office import grace

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
ANN, BOB = "ann@example.org", "bob@example.org"


async def prepare(store: Store) -> None:
    """Grace, Ann and Bob, and two campaigns."""
    step = TaskStep(kind="call", subject="Call")
    async with store.write() as tx:
        key = await people_key(tx)
        await reps.sync(tx, Reps([grace()], key), NOW)
        await people.insert_all(tx, key, [PersonRow(2, ANN, {}), PersonRow(3, BOB, {})], NOW)
        for slug in ("intro", "other"):
            campaign = Campaign(slug=slug, name=slug, days=(Day(day=1, steps=(step,)),))
            await campaigns.save(tx, campaign, {}, NOW)


async def new(store: Store, address: str, slug: str = "intro", round: int = 1) -> New:
    async with store.read() as tx:
        key = await people_key(tx)
        campaign = await campaigns.newest(tx, slug)
    assert campaign is not None
    person = person_id(key, address)
    return New(
        id=secrets.token_hex(8),
        workflow_id=f"campaign/{slug}/{person}",
        campaign=slug,
        version=campaign.version,
        person_id=person,
        rep_id=Reps([grace()], key).id_of(grace()),
        rep_email="grace@example.com",
        round=round,
        plan="{}",
        standing="{}",
        kickoff=NOW,
        due_at=NOW + timedelta(hours=1),
        first_email_due=NOW + timedelta(hours=1),
        starts_with_email=True,
        who="r0123456789ab",
    )


async def write(store: Store, *ones: New) -> set[str]:
    async with store.write() as tx:
        return await enrollments.insert_all(tx, ones, NOW)


async def test_an_enrollment_comes_with_its_email_event_and_order(store: Store) -> None:
    await prepare(store)
    ann = await new(store, ANN)
    assert await write(store, ann) == {ann.id}
    async with store.read() as tx:
        row = await enrollments.find(tx, ann.id)
        message = (await tx.execute(select(messages))).one()
        event = (await tx.execute(select(events))).one()
        order = (await tx.execute(select(outbox))).one()
    assert row is not None
    assert (row.state, row.step, row.next_at, row.started_at) == (
        "sleeping",
        1,
        ann.due_at,
        None,
    )
    assert (message.state, message.due_at, message.first) == ("scheduled", ann.due_at, True)
    assert message.message_id.endswith("@example.com>")
    assert (event.key, event.what, event.person_id) == ("enrolled", "enrolled", ann.person_id)
    assert (order.kind, order.not_before) == ("start", NOW + timedelta(seconds=60))


async def test_nobody_is_written_twice_whoever_writes(store: Store) -> None:
    await prepare(store)
    ann, bob, other = await new(store, ANN), await new(store, BOB), await new(store, ANN)
    await write(store, ann)
    assert await write(store, other, bob) == {bob.id}
    async with store.read() as tx:
        for one in (table, messages, events, outbox):
            assert len((await tx.execute(select(one))).all()) == 2
    assert await write(store) == set()


async def test_a_second_round_waits_for_the_end_of_the_first(store: Store) -> None:
    await prepare(store)
    first, second = await new(store, ANN), await new(store, ANN, round=2)
    await write(store, first)
    assert await write(store, second) == set()
    async with store.write() as tx:
        await tx.execute(update(table).values(ended_at=NOW))
    assert await write(store, second) == {second.id}


async def test_a_persons_enrollments_are_listed_and_the_running_ones_apart(store: Store) -> None:
    await prepare(store)
    first, second, bob = (
        await new(store, ANN),
        await new(store, ANN, "other"),
        await new(store, BOB),
    )
    await write(store, first, bob)
    await write(store, second)
    async with store.write() as tx:
        await tx.execute(update(table).where(table.c.id == first.id).values(ended_at=NOW))
    async with store.read() as tx:
        every = await enrollments.of_person(tx, first.person_id)
        running = await enrollments.running_of_person(tx, first.person_id)
        of_both = await enrollments.of_people(tx, [first.person_id, bob.person_id])
        assert await enrollments.find(tx, "nobody") is None
    assert {row.id for row in every} == {first.id, second.id}
    assert [row.id for row in running] == [second.id]
    assert {row.id for row in of_both} == {first.id, second.id, bob.id}


async def test_a_started_workflow_is_noted_once_and_its_order_is_done(store: Store) -> None:
    await prepare(store)
    ann = await new(store, ANN)
    await write(store, ann)
    for minutes in (1, 2):
        async with store.write() as tx:
            at = NOW + timedelta(minutes=minutes)
            await enrollments.mark_started(tx, {ann.id}, at)
            await enrollments.mark_started(tx, set(), at)
    async with store.read() as tx:
        row = await enrollments.find(tx, ann.id)
        order = (await tx.execute(select(outbox))).one()
    assert row is not None
    assert row.started_at == order.delivered_at == NOW + timedelta(minutes=1)
    assert order.answer == "delivered"


async def test_an_enrollment_is_withdrawn_without_a_trace_unless_it_was_started(
    store: Store,
) -> None:
    await prepare(store)
    ann, bob = await new(store, ANN), await new(store, BOB)
    await write(store, ann, bob)
    async with store.write() as tx:
        await enrollments.mark_started(tx, {bob.id}, NOW)
        assert await enrollments.withdraw(tx, ann.id)
        assert not await enrollments.withdraw(tx, bob.id)
        assert not await enrollments.withdraw(tx, "nobody")
    async with store.read() as tx:
        for one, column in (
            (table, table.c.id),
            (messages, messages.c.enrollment_id),
            (events, events.c.enrollment_id),
            (outbox, outbox.c.enrollment_id),
        ):
            assert list((await tx.execute(select(column))).scalars()) == [bob.id], one.name
