"""A second attempt after every kind of death, and attempts that overlap."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from activities import emails
from activities.outcomes import (
    Blocked,
    Failed,
    HardBounce,
    InDoubt,
    NotSent,
    Sent,
    SoftBounce,
    WaitUntil,
)
from drumbeat.campaign.states import MessageState, Outcome, State
from drumbeat.mail.outcomes import Accepted, Delivery, Phase, TryLater, words
from drumbeat.mail.outcomes import InDoubt as NotKnown
from drumbeat.mail.sending import Envelope, SmtpMailer
from drumbeat.reps import Mailbox
from drumbeat.store import suppressions
from drumbeat.store.errors import DatabaseUnreachable
from tests.activities.world import Walk, World, call, campaign, email, local
from tests.mail.memory import MemoryMailer
from tests.mail.servers import ScriptedServer
from workflows import handling, messages

DUE = local("2026-11-23T09:30")
LATE_250 = Accepted(words(Phase.DATA, "2.0.0 Ok, late", 250))


class Died(Exception):
    """The process is gone at this point."""


class Dying(MemoryMailer):
    """Dies before its mark, after it, or after the server's 250."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    async def deliver(
        self,
        mailbox: Mailbox,
        envelope: Envelope,
        content: bytes,
        handing_over: Callable[[], Awaitable[bool]],
    ) -> Delivery:
        if self.where == "before the mark":
            raise Died
        if self.where == "after the mark":
            assert await handing_over()
            raise Died
        await super().deliver(mailbox, envelope, content, handing_over)
        raise Died


class Slow(MemoryMailer):
    """Waits where it is told to, so that another attempt can come in between."""

    def __init__(self, *, before_mark: bool, answer: Delivery = LATE_250) -> None:
        super().__init__()
        self.before_mark = before_mark
        self.answer = answer
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    async def _wait(self) -> None:
        self.reached.set()
        await self.go_on.wait()

    async def deliver(
        self,
        mailbox: Mailbox,
        envelope: Envelope,
        content: bytes,
        handing_over: Callable[[], Awaitable[bool]],
    ) -> Delivery:
        if self.before_mark:
            await self._wait()
            return await super().deliver(mailbox, envelope, content, handing_over)
        assert await handing_over()
        await self._wait()
        return self.answer


async def ada(world: World) -> Walk:
    return (await world.enroll(campaign(email(), email()))).due()


async def test_one_that_dies_before_the_mark_is_sent_by_the_next(world: World) -> None:
    walk = await ada(world)
    with pytest.raises(Died):
        await walk.run(walk.asking(), Dying("before the mark"))
    message = await walk.message(1)
    assert (message.state, message.attempt, message.handing_over_at) == ("sending", 1, None)
    assert await walk.again() == Sent(at=DUE)
    assert (await walk.message(1)).attempt == 2
    assert len(world.memory.received) == 1


@pytest.mark.parametrize("where", ["after the mark", "after 250"])
async def test_one_that_dies_after_the_mark_is_in_doubt_and_not_sent_again(
    world: World, where: str
) -> None:
    walk = await ada(world)
    with pytest.raises(Died):
        await walk.run(walk.asking(), Dying(where))
    assert (await walk.message(1)).handing_over_at == DUE
    assert await walk.again() == InDoubt()
    assert await walk.again() == InDoubt()
    assert await walk.state_of(1) == MessageState.IN_DOUBT
    assert (await walk.row()).state == State.IN_DOUBT
    assert await walk.happened() == ["in_doubt"]
    assert world.memory.received == []


async def test_one_that_dies_after_its_record_is_sent_and_not_handed_over_again(
    world: World,
) -> None:
    walk = await ada(world)
    first = await walk.run(walk.asking())
    world.clock.advance(timedelta(seconds=20))
    assert await walk.again() == first == Sent(at=DUE)
    assert len(world.memory.received) == 1
    assert await walk.happened() == ["sent"]
    assert (await walk.row()).step == 2


async def test_a_doubt_resolved_as_sent_goes_on_and_as_not_sent_is_sent_with_the_same_id(
    world: World,
) -> None:
    walk = await ada(world)
    with pytest.raises(Died):
        await walk.run(walk.asking(), Dying("after the mark"))
    assert walk.last is not None
    walk.hears(walk.last, await walk.again())
    first_id = (await walk.message(1)).message_id
    handling.resolve_doubt(walk.state, messages.ResolveDoubt(sent=False), world.clock())
    assert isinstance(await walk.due().send(), Sent)
    message = await walk.message(1)
    assert (message.message_id, message.state) == (first_id, MessageState.SENT)
    assert first_id.encode() in world.memory.received[0].content

    with pytest.raises(Died):
        await walk.due().run(walk.asking(), Dying("after the mark"))
    walk.hears(walk.last, await walk.again())
    marked = (await walk.message(2)).handing_over_at
    handling.resolve_doubt(walk.state, messages.ResolveDoubt(sent=True, at=marked), world.clock())
    await walk.record()
    message = await walk.message(2)
    assert (message.state, message.sent_at) == (MessageState.SENT, marked)
    assert len(world.memory.received) == 1


async def test_an_attempt_that_another_has_superseded_stops_before_data(world: World) -> None:
    walk = await ada(world)
    slow = Slow(before_mark=True)
    send = walk.asking()
    first = asyncio.create_task(walk.run(send, slow))
    await slow.reached.wait()
    assert isinstance(await walk.run(send), Sent)
    slow.go_on.set()
    assert await first == Sent(at=DUE)
    assert (len(slow.received), len(world.memory.received)) == (0, 1)
    assert await walk.happened() == ["sent"]


async def test_of_two_attempts_before_their_mark_the_later_one_sends(world: World) -> None:
    walk = await ada(world)
    earlier, later = Slow(before_mark=True), Slow(before_mark=True)
    send = walk.asking()
    first = asyncio.create_task(walk.run(send, earlier))
    await earlier.reached.wait()
    second = asyncio.create_task(walk.run(send, later))
    await later.reached.wait()
    earlier.go_on.set()
    assert isinstance(await first, WaitUntil)
    later.go_on.set()
    assert await second == Sent(at=DUE)
    assert (len(earlier.received), len(later.received)) == (0, 1)


async def test_a_superseded_attempt_raises_no_doubt_about_the_one_under_way(world: World) -> None:
    walk = await ada(world)
    slow, slower = Slow(before_mark=True), Slow(before_mark=False)
    send = walk.asking()
    first = asyncio.create_task(walk.run(send, slow))
    await slow.reached.wait()
    second = asyncio.create_task(walk.run(send, slower))
    await slower.reached.wait()
    slow.go_on.set()
    assert isinstance(await first, WaitUntil)
    assert await walk.state_of(1) == MessageState.SENDING
    slower.go_on.set()
    assert await second == Sent(at=DUE)
    assert await walk.happened() == ["sent"]
    assert await world.outbox() == []


async def test_of_two_attempts_at_once_one_hands_over(world: World) -> None:
    walk = await ada(world)
    send = walk.asking()
    outcomes = await asyncio.gather(*(walk.run(send) for _ in range(5)))
    assert len(world.memory.received) == 1
    assert {type(outcome) for outcome in outcomes} <= {Sent, WaitUntil, InDoubt}
    assert await walk.state_of(1) == MessageState.SENT


async def test_a_late_250_wins_over_a_doubt_and_the_workflow_is_told(world: World) -> None:
    walk = await ada(world)
    slow = Slow(before_mark=False)
    send = walk.asking()
    first = asyncio.create_task(walk.run(send, slow))
    await slow.reached.wait()
    assert await walk.run(send) == InDoubt()
    walk.hears(send, InDoubt())
    world.clock.advance(timedelta(minutes=9))
    slow.go_on.set()
    assert await first == Sent(at=world.clock())
    message = await walk.message(1)
    assert (message.state, message.why) == (MessageState.SENT, None)
    assert message.answer == "250 2.0.0 Ok, late"
    [told] = await world.outbox()
    assert (told.kind, told.enrollment_id) == ("late_answer", walk.id)
    answer = messages.LateAnswer.model_validate(told.payload)
    handling.late_answer(walk.state, answer, world.clock())
    assert walk.state.over[1] == "sent"
    await walk.record()
    assert (await walk.message(1)).sent_at == DUE + timedelta(minutes=9)


async def test_a_late_refusal_ends_a_doubt_and_the_email_is_tried_again(world: World) -> None:
    walk = await ada(world)
    slow = Slow(before_mark=False, answer=TryLater(words(Phase.DATA, "4.3.0 Later", 451)))
    send = walk.asking()
    first = asyncio.create_task(walk.run(send, slow))
    await slow.reached.wait()
    walk.hears(send, await walk.run(send))
    slow.go_on.set()
    assert await first == InDoubt()
    message = await walk.message(1)
    assert (message.state, message.answer) == (MessageState.IN_DOUBT, "451 4.3.0 Later")
    [told] = await world.outbox()
    assert (told.kind, told.not_before) == ("resolve_doubt", DUE + emails.UNTIL_HEARD)
    resolve = messages.ResolveDoubt.model_validate(told.payload)
    handling.resolve_doubt(walk.state, resolve, world.clock())
    assert isinstance(await walk.send(), Sent)
    assert len(world.memory.received) == 1


async def test_a_late_answer_that_says_nothing_leaves_the_doubt(world: World) -> None:
    walk = await ada(world)
    lost = NotKnown(words(Phase.DATA, "the connection was lost"))
    slow = Slow(before_mark=False, answer=lost)
    send = walk.asking()
    first = asyncio.create_task(walk.run(send, slow))
    await slow.reached.wait()
    walk.hears(send, await walk.run(send))
    slow.go_on.set()
    assert await first == InDoubt()
    assert await walk.state_of(1) == MessageState.IN_DOUBT
    assert await world.outbox() == []


async def test_a_late_250_after_sending_again_leaves_what_was_recorded(world: World) -> None:
    walk = await ada(world)
    slow = Slow(before_mark=False)
    send = walk.asking()
    first = asyncio.create_task(walk.run(send, slow))
    await slow.reached.wait()
    walk.hears(send, await walk.run(send))
    handling.resolve_doubt(walk.state, messages.ResolveDoubt(sent=False), world.clock())
    world.clock.advance(timedelta(seconds=1))
    again = await walk.send()
    assert isinstance(again, Sent)
    world.clock.advance(timedelta(minutes=1))
    slow.go_on.set()
    assert await first == again
    assert (await walk.message(1)).sent_at == again.at
    assert await world.outbox() == []


async def test_a_late_250_stops_the_attempt_that_a_person_has_asked_for(world: World) -> None:
    walk = await ada(world)
    late, again = Slow(before_mark=False), Slow(before_mark=True)
    send = walk.asking()
    first = asyncio.create_task(walk.run(send, late))
    await late.reached.wait()
    walk.hears(send, await walk.run(send))
    handling.resolve_doubt(walk.state, messages.ResolveDoubt(sent=False), world.clock())
    second = asyncio.create_task(walk.send(again))
    await again.reached.wait()
    late.go_on.set()
    assert await first == Sent(at=DUE)
    again.go_on.set()
    assert await second == Sent(at=DUE)
    assert again.received == []
    assert await walk.state_of(1) == MessageState.SENT


async def test_the_servers_answer_waits_for_a_database_that_is_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emails, "RECORDING_PAUSES", (0, 0))
    walk = await ada(world)
    write, away = world.store.write, 0

    def sometimes() -> AbstractAsyncContextManager[AsyncConnection]:
        nonlocal away
        if world.memory.received and away < 2:
            away += 1
            raise DatabaseUnreachable("the database is being restarted")
        return write()

    world.store.write = sometimes  # type: ignore[method-assign,assignment]  # to be away for a while
    assert await walk.send() == Sent(at=DUE)
    assert away == 2
    assert await walk.state_of(1) == MessageState.SENT


async def test_a_database_that_stays_away_leaves_a_doubt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emails, "RECORDING_PAUSES", (0, 0))
    walk = await ada(world)
    write = world.store.write

    def away() -> AbstractAsyncContextManager[AsyncConnection]:
        if world.memory.received:
            raise DatabaseUnreachable("the database is gone")
        return write()

    world.store.write = away  # type: ignore[method-assign,assignment]  # to be away for good
    with pytest.raises(DatabaseUnreachable):
        await walk.run(walk.asking())
    world.store.write = write  # type: ignore[method-assign]  # it is back
    assert await walk.again() == InDoubt()
    assert len(world.memory.received) == 1


async def test_a_cancelled_attempt_hands_nothing_over_twice(world: World) -> None:
    async with ScriptedServer() as server:
        await world.staff(server.mailbox())
        server.on("CONTENT", asyncio.Event())
        walk, mailer = await ada(world), SmtpMailer()
        attempt = asyncio.create_task(walk.run(walk.asking(), mailer))
        await server.reached["CONTENT"].wait()
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        server.behave()
        assert await walk.again(mailer) == InDoubt()
        assert server.received == []
        await mailer.close()


async def test_an_attempt_left_over_from_an_earlier_step_changes_nothing(world: World) -> None:
    walk = (await world.enroll(campaign(email(), email(), call()))).due()
    await walk.send()
    left_over = walk.last
    assert left_over is not None
    await walk.due().send()
    before = await walk.row()
    assert isinstance(await walk.run(left_over), WaitUntil)
    assert await walk.row() == before
    assert len(world.memory.received) == 2


async def test_an_attempt_left_over_does_not_send_what_was_put_off_since(world: World) -> None:
    walk = await ada(world)
    left_over = walk.asking()
    walk.state.phase = State.SLEEPING
    moved = messages.MoveEmail(step=1, at=local("2026-11-25T10:00"))
    handling.move_email(walk.state, moved, world.clock())
    await walk.record()
    outcome = await walk.run(left_over)
    assert isinstance(outcome, WaitUntil)
    assert world.memory.received == []
    message = await walk.message(1)
    assert (message.state, message.due_at) == ("scheduled", local("2026-11-25T10:00"))


@pytest.mark.parametrize(
    ("phase", "code", "text", "kind"),
    [
        (Phase.RCPT, 550, "5.1.1 No such user", HardBounce),
        (Phase.RCPT, 552, "5.2.2 Full", SoftBounce),
        (Phase.DATA, 552, "5.3.4 Too big", Failed),
        (Phase.DATA, None, "cut", InDoubt),
    ],
)
async def test_what_was_recorded_is_said_again(
    world: World, phase: Phase, code: int | None, text: str, kind: type
) -> None:
    walk = await ada(world)
    world.memory.once(phase, code, text)
    first = await walk.run(walk.asking())
    row, message = await walk.row(), await walk.message(1)
    assert isinstance(first, kind)
    assert await walk.again() == first
    assert (await walk.row(), await walk.message(1)) == (row, message)
    assert world.memory.attempts == 1
    assert len(await walk.happened()) == 1


@pytest.mark.parametrize("asked", [Outcome.SUCCESS, Outcome.UNSUBSCRIBED, Outcome.REMOVED])
async def test_an_end_is_said_again_as_it_was(world: World, asked: Outcome) -> None:
    walk = await ada(world)
    await walk.change_row(end_asked={"outcome": asked, "reason_id": None, "who": None})
    first = await walk.run(walk.asking())
    assert isinstance(first, NotSent)
    assert first.outcome == asked
    assert await walk.again() == first


@pytest.mark.parametrize("source", ["manual", "unsubscribed", "bounced"])
async def test_a_suppression_is_said_again_as_it_was(world: World, source: str) -> None:
    walk = await ada(world)
    async with world.store.write() as tx:
        await suppressions.add(
            tx,
            kind="address",
            value="ada@example.org",
            source=source,
            reason=None,
            who=None,
            now=world.clock(),
        )
    first = await walk.run(walk.asking())
    assert isinstance(first, NotSent)
    assert first.outcome == ("unsubscribed" if source == "unsubscribed" else "removed")
    assert await walk.again() == first


async def test_blocked_is_looked_at_again(world: World) -> None:
    walk = (await world.enroll(campaign(email("<p>{{ industry }}</p>")))).due()
    first = await walk.run(walk.asking())
    assert isinstance(first, Blocked)
    assert await walk.again() == first
    assert await walk.happened() == ["blocked"]
    await walk.mend(industry="looms")
    assert isinstance(await walk.again(), Sent)


async def test_data_that_changes_while_the_email_is_built_is_what_is_sent(world: World) -> None:
    walk = await ada(world)
    build = world.letters.build
    built = 0

    async def meanwhile(case: object) -> object:
        nonlocal built
        letter = await build(case)  # type: ignore[arg-type]  # handed through
        built += 1
        if built == 1:
            await walk.mend(company="Looms")
        return letter

    world.letters.build = meanwhile  # type: ignore[method-assign,assignment]  # to come in between
    assert isinstance(await walk.send(), Sent)
    assert built == 2
    assert b"Subject: About Looms" in world.memory.received[0].content


async def test_a_task_after_a_doubt_is_not_opened_meanwhile(world: World) -> None:
    walk = (await world.enroll(campaign(email(), call()))).due()
    world.memory.once(Phase.DATA, None, "cut")
    await walk.send()
    assert walk.state.step == 1
    assert walk.state.is_stuck


@pytest.fixture(autouse=True)
async def _nothing_is_left(world: World) -> AsyncIterator[None]:
    """Every message ends in a state that says what happened; two copies never leave silently."""
    yield
    ids = [line for r in world.memory.received for line in r.content.split(b"\r\n")[:1]]
    assert len(ids) == len(set(ids))
