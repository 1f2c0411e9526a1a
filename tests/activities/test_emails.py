import hashlib
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from email import message_from_bytes
from email.policy import default

from sqlalchemy.ext.asyncio import AsyncConnection

from activities.outcomes import Sent
from drumbeat.campaign.states import MessageState, State
from drumbeat.mail.composing import complete
from drumbeat.store.schema import messages
from tests.activities.world import World, attachment, call, campaign, email, local


async def test_an_email_that_is_due_is_sent_and_recorded(world: World) -> None:
    walk = (await world.enroll(campaign(email(), email()))).due()
    outcome = await walk.send()
    assert outcome == Sent(at=local("2026-11-23T09:30"))
    message = await walk.message(1)
    assert message.state == MessageState.SENT
    assert message.sent_at == local("2026-11-23T09:30")
    assert message.answer == "250 2.0.0 Ok: queued as 1"
    assert message.why is None
    assert await walk.happened() == ["sent"]
    [received] = world.memory.received
    assert received.sender == "grace@example.com"
    assert received.recipients == ("ada@example.org",)
    letter = message_from_bytes(received.content, policy=default)
    assert letter["Subject"] == "About Engines"
    assert letter["To"] == "Ada <ada@example.org>"
    assert letter["Message-ID"] == message.message_id


async def test_the_next_emails_row_and_the_enrollments_standing_come_with_it(world: World) -> None:
    walk = (await world.enroll(campaign(email(), email()))).due()
    await walk.send()
    following = await walk.message(2)
    assert following.state == MessageState.SCHEDULED
    assert following.due_at == local("2026-11-24T09:30")
    row = await walk.row()
    assert (row.state, row.step, row.next_at) == (State.SLEEPING, 2, following.due_at)
    assert row.why == {"code": "time", "until": "2026-11-24T14:30:00Z", "detail": ""}
    assert row.standing == walk.state.standing.model_dump_json()


async def test_the_sent_bytes_are_the_stored_ones(world: World) -> None:
    prices = b"%PDF-1.7 prices" * 1000
    file = attachment(prices)
    what = campaign(email(attachments=(file,)), email(attachments=(file,)))
    walk = await world.enroll(what, data={file.sha256: prices})
    for _ in range(2):
        await walk.due().send()
    rows = [await walk.message(1), await walk.message(2)]
    for row, received in zip(rows, world.memory.received, strict=True):
        assert hashlib.sha256(received.content).hexdigest() == row.sha256
        assert complete(row.stored, {file.sha256: prices}) == received.content
        assert prices[:10] not in row.stored
        assert row.attachments == [file.sha256]
    assert len(await world.blobs()) == 1


async def test_the_last_emails_end_is_left_to_the_workflow(world: World) -> None:
    walk = (await world.enroll(campaign(email()))).due()
    await walk.send()
    assert (await walk.row()).state == State.SLEEPING
    assert walk.state.over == {1: "sent"}


async def test_a_task_follows_an_email(world: World) -> None:
    walk = (await world.enroll(campaign(email(), call()))).due()
    await walk.send()
    row = await walk.row()
    assert (row.state, row.step, row.next_at) == (State.SLEEPING, 2, local("2026-11-24T00:00"))
    world.clock.advance(timedelta(days=1))


async def test_an_email_that_nothing_delays_costs_three_transactions_that_write(
    world: World,
) -> None:
    walk = (await world.enroll(campaign(email(), email()))).due()
    await walk.send()
    write, written = world.store.write, 0

    def counted() -> AbstractAsyncContextManager[AsyncConnection]:
        nonlocal written
        written += 1
        return write()

    world.store.write = counted  # type: ignore[method-assign,assignment]  # to count
    await walk.due().send()
    assert written == 3


async def test_an_email_without_a_row_gets_one(world: World) -> None:
    walk = await world.enroll(campaign(email(), email()))
    assert await world.rows(messages) == []
    assert isinstance(await walk.due().send(), Sent)
