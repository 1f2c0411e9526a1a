"""What a restored database has lost shows itself to the activities: all mailboxes wait."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Row, delete, select, update
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.emails import Emails
from activities.outcomes import Held, InDoubt, Sent
from activities.restoring import RestoreInterceptor
from drumbeat.campaign.states import HoldKind, MessageState
from drumbeat.store import holds, ledger, restoring
from drumbeat.store.errors import RowMissing
from drumbeat.store.schema import enrollments, events, marks, messages, outbox
from tests.activities.world import Walk, World, bump, call, campaign, email
from tests.copying import values_of


async def mailbox_holds(world: World) -> Sequence[Row[Any]]:
    async with world.store.read() as tx:
        return await restoring.held_by_it(tx, world.clock())


async def remembered(walk: Walk) -> tuple[Row[Any], Row[Any]]:
    row, now = await walk.row(), walk.world.clock()
    async with walk.world.store.write() as tx:
        await ledger.schedule(tx, row, 1, now, now)  # as enrolling does it
    return row, await walk.message(1)


async def rewind(walk: Walk, before: tuple[Row[Any], Row[Any]]) -> None:
    """Put the rows back to what they were, as a backup does."""
    of_enrollment, of_message = before
    async with walk.world.store.write() as tx:
        await tx.execute(delete(marks).where(marks.c.enrollment_id == walk.id))
        await tx.execute(delete(events).where(events.c.enrollment_id == walk.id))
        await tx.execute(
            delete(messages).where(messages.c.enrollment_id == walk.id, messages.c.step > 1)
        )
        await tx.execute(
            update(messages)
            .where(messages.c.enrollment_id == walk.id)
            .values(values_of(of_message))
        )
        await tx.execute(
            update(enrollments).where(enrollments.c.id == walk.id).values(values_of(of_enrollment))
        )


async def test_a_send_that_the_tables_forgot_holds_all_mailboxes_at_the_next_one(
    world: World,
) -> None:
    ada = (await world.enroll(campaign(email(), bump(), call()))).due()
    other = (await world.enroll(campaign(email(), call()), "ben@example.org")).due()
    before = await remembered(ada)
    assert isinstance(await ada.send(), Sent)
    await rewind(ada, before)
    assert await mailbox_holds(world) == []
    outcome = await ada.due().send()
    assert isinstance(outcome, Held)
    [hold] = await mailbox_holds(world)
    assert outcome.hold_id == hold.id
    assert isinstance(await other.send(), Held)
    assert len(world.memory.received) == 1
    async with world.store.read() as tx:
        told = (await tx.execute(select(outbox.c.key).order_by(outbox.c.key))).scalars().all()
    assert {f"hold/{hold.id}/{walk.id}" for walk in (ada, other)} <= set(told)
    async with world.store.write() as tx:
        assert await restoring.hold_all(tx, world.clock()) == 0


async def test_a_task_that_the_tables_believe_open_holds_all_mailboxes(world: World) -> None:
    walk = await world.enroll(campaign(call(), email()))
    await walk.open_task()
    async with world.store.read() as tx:
        assert await restoring.is_behind(tx, walk.id, 2)
        assert not await restoring.is_behind(tx, walk.id, 1)
        assert not await restoring.is_behind(tx, walk.id, None)


async def test_a_number_that_a_hold_left_unused_is_no_loss(world: World) -> None:
    walk = (await world.enroll(campaign(email(), bump()))).due()
    async with world.store.write() as tx:
        await holds.insert(
            tx,
            hold_id="h1",
            kind=HoldKind.PERSON,
            target=walk.person_id,
            until=None,
            reason=None,
            who=None,
            now=world.clock(),
        )
    for _ in range(3):
        assert isinstance(await walk.send(), Held)
        await walk.record()
    async with world.store.write() as tx:
        await holds.mark_released(tx, "h1", None, world.clock())
    assert isinstance(await walk.send(), Sent)
    assert isinstance(await walk.due().send(), Sent)
    assert await mailbox_holds(world) == []


@pytest.mark.parametrize(("attempt", "expected"), [(1, Held), (2, InDoubt)])
async def test_an_email_that_an_earlier_attempt_may_have_handed_over_is_in_doubt(
    world: World, attempt: int, expected: type
) -> None:
    """The attempt's marks are lost with the backup: nobody can know whether it left."""
    walk = (await world.enroll(campaign(email(), bump()))).due()
    send = walk.asking()
    async with world.store.write() as tx:
        await restoring.hold_all(tx, world.clock())
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, attempt=attempt)
    emails = Emails(world.store, world.letters, world.mailer)
    result = await environment.run(emails.send_email, send)
    assert isinstance(result.outcome, expected)
    state = await walk.state_of(1)
    assert state == (MessageState.IN_DOUBT if attempt > 1 else MessageState.SCHEDULED)
    assert world.memory.received == []


async def test_an_activity_whose_enrollment_is_lost_holds_all_mailboxes_and_says_so_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Missing(ActivityInboundInterceptor):
        async def execute_activity(self, input: ExecuteActivityInput) -> Any:
            raise RowMissing("the tables know no enrollment e9")

    missing = Missing(None)  # type: ignore[arg-type]  # the last one: there is none after it
    first = RestoreInterceptor(world.store).intercept_activity(missing)
    for _ in range(3):
        with pytest.raises(ApplicationError, match="the tables lack a row") as raised:
            await first.execute_activity(None)  # type: ignore[arg-type]  # nobody looks at it
        assert raised.value.next_retry_delay is not None
    assert len(await mailbox_holds(world)) == 1
    assert len([record for record in caplog.records if record.name == "drumbeat.restoring"]) == 1
