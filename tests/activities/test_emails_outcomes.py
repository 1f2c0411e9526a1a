"""The outcome table of SPEC section 4, row by row."""

from collections.abc import AsyncIterator
from datetime import time, timedelta
from typing import Any

import pytest

from activities.outcomes import (
    Failed,
    HardBounce,
    Held,
    InDoubt,
    Sent,
    SoftBounce,
    WaitUntil,
)
from drumbeat.campaign.model import Window
from drumbeat.campaign.states import HoldKind, MessageState, Outcome, State, TaskStatus, WhyCode
from drumbeat.mail.connections import Deadlines
from drumbeat.mail.outcomes import Phase
from drumbeat.mail.sending import SmtpMailer
from drumbeat.reps import Mailbox, Server, Tls
from tests.activities.world import Walk, World, call, campaign, email, local
from tests.mail.servers import DROP, STALL, Doing, ScriptedServer, refused_port
from workflows import handling, messages
from workflows.campaign import SEND_TIMEOUT

HASTY = Deadlines(
    connect=timedelta(seconds=2),
    command=timedelta(seconds=0.3),
    preparing=timedelta(seconds=3),
    final_reply=timedelta(seconds=0.3),
    courtesy=timedelta(seconds=0.1),
)
DUE = local("2026-11-23T09:30")


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as running:
        yield running


@pytest.fixture
async def smtp(world: World, server: ScriptedServer) -> AsyncIterator[World]:
    """The world with the mailer that speaks SMTP, to a scripted server."""
    mailer = SmtpMailer(deadlines=HASTY)
    world.mailer = mailer
    await world.staff(server.mailbox())
    yield world
    await mailer.close()


async def ada(world: World, **settings: Any) -> Walk:
    """At the first of two emails, which is due."""
    return (await world.enroll(campaign(email(), email(), **settings))).due()


async def others(world: World, number: int) -> list[Walk]:
    """People in the same campaign, each at the first email, which is due."""
    people = [f"person{index}@example.net" for index in range(number)]
    return [(await world.enroll(campaign(email(), email()), who)).due() for who in people]


async def test_250_is_sent_and_the_servers_answer_kept(smtp: World, server: ScriptedServer) -> None:
    walk = await ada(smtp)
    assert await walk.send() == Sent(at=DUE)
    message = await walk.message(1)
    assert (message.state, message.answer) == (MessageState.SENT, "250 2.0.0 Ok: queued as 1")
    assert message.handing_over_at == DUE
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("phase", "doing"),
    [
        ("CONNECT", "421 4.3.2 Busy"),
        ("MAIL", "451 4.3.0 Later"),
        ("RCPT", "450 4.2.0 Greylisted"),
        ("DATA", "452 4.3.1 No space"),
        ("CONTENT", "451 4.7.1 Later"),
        ("CONNECT", DROP),
        ("MAIL", DROP),
        ("RCPT", DROP),
        ("RCPT", STALL),
    ],
)
async def test_what_was_surely_not_taken_is_tried_again(
    smtp: World, server: ScriptedServer, phase: Any, doing: Doing
) -> None:
    walk = await ada(smtp)
    server.on(phase, doing)
    outcome = await walk.send()
    assert isinstance(outcome, WaitUntil)
    assert outcome.why.code == WhyCode.RETRY
    assert outcome.at == DUE + timedelta(minutes=1)
    message = await walk.message(1)
    assert (message.state, message.tries) == (MessageState.SCHEDULED, 1)
    assert message.why["code"] == "retry"
    row = await walk.row()
    assert (row.state, row.next_at) == (State.SLEEPING, outcome.at)
    assert await smtp.holds() == []
    server.behave()
    assert isinstance(await walk.due().send(), Sent)
    assert len(server.received) == 1


async def test_the_deadlines_of_smtp_end_before_the_activitys_timeout() -> None:
    assert Deadlines().final_reply == timedelta(minutes=10)
    spare = SEND_TIMEOUT - Deadlines().whole
    assert spare >= timedelta(seconds=30)


async def test_pauses_grow_and_after_24_hours_it_has_failed(world: World) -> None:
    walk = await ada(world)
    pauses = []
    while True:
        world.memory.once(Phase.RCPT, 450, "4.2.0 Greylisted")
        outcome = await walk.due().send()
        if not isinstance(outcome, WaitUntil):
            break
        pauses.append(outcome.at - world.clock())
    assert [pause.total_seconds() / 60 for pause in pauses[:8]] == [1, 2, 5, 10, 20, 40, 60, 60]
    assert isinstance(outcome, Failed)
    assert (outcome.why.code, outcome.why.detail) == (WhyCode.GAVE_UP, "450")
    # From midnight to 09:30 of the second day it waited for its time (R9): that does not count.
    waited = world.clock() - DUE
    assert timedelta(hours=22) < waited - timedelta(hours=9, minutes=30) <= timedelta(hours=24)
    message = await walk.message(1)
    assert (message.state, message.answer) == (MessageState.FAILED, "450 4.2.0 Greylisted")
    assert (await walk.row()).state == State.FAILED
    assert await walk.happened() == ["failed"]


async def test_only_time_in_which_it_may_leave_counts_towards_24_hours(world: World) -> None:
    # Two hours a day: 24 hours of them are twelve days, the retries of a night are not counted.
    window = Window(start=time(9), end=time(10, 59))
    walk = await ada(world, sending_window=window)
    for _ in range(100):
        world.memory.once(Phase.RCPT, 450, "4.2.0 Greylisted")
        outcome = await walk.due().send()
        if isinstance(outcome, Failed):
            break
        assert isinstance(outcome, WaitUntil)
        assert 9 <= (outcome.at - timedelta(hours=5)).hour < 11
    assert isinstance(outcome, Failed)
    assert timedelta(days=11) < world.clock() - DUE < timedelta(days=13)


@pytest.mark.parametrize(
    "words",
    ["550 5.1.1 No such user", "554 5.1.10 Null MX", "550 No such user", "551 Moved", "553 No"],
)
async def test_a_hard_bounce_ends_the_enrollment_where_the_campaign_says_so(
    smtp: World, server: ScriptedServer, words: str
) -> None:
    walk = await ada(smtp)
    server.on("RCPT", words)
    assert await walk.send() == HardBounce()
    message = await walk.message(1)
    assert (message.state, message.answer) == (MessageState.CANCELLED, words)
    assert message.why["code"] == "bounced"
    assert walk.state.outcome == Outcome.BOUNCED
    await walk.record()
    row = await walk.row()
    assert (row.state, row.outcome) == (State.ENDED, Outcome.BOUNCED)
    assert row.bounced_at == DUE
    assert await walk.happened() == ["not_sent", "ended"]


async def test_a_hard_bounce_skips_emails_and_tasks_go_on_where_the_campaign_says_so(
    world: World,
) -> None:
    what = campaign(email(), call(), email(), remove_on_bounce=False)
    walk = (await world.enroll(what)).due()
    world.memory.once(Phase.RCPT, 550, "5.1.1 No such user")
    assert await walk.send() == HardBounce()
    assert walk.state.over == {1: "skipped"}
    assert (walk.state.step, walk.state.outcome) == (2, None)
    await walk.record()
    assert (await walk.row()).bounced_at == DUE


async def test_a_full_mailbox_is_a_soft_bounce_and_the_calendar_goes_on(
    smtp: World, server: ScriptedServer
) -> None:
    walk = await ada(smtp)
    server.on("RCPT", "552 5.2.2 Mailbox full")
    assert await walk.send() == SoftBounce()
    message = await walk.message(1)
    assert (message.state, message.why["code"]) == (MessageState.CANCELLED, "soft_bounce")
    assert walk.state.step == 2
    assert (await walk.row()).bounced_at is None


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        ("MAIL", "550 5.7.1 Not you"),
        ("MAIL", "501 5.1.7 Bad sender"),
        ("MAIL", "530 5.7.0 Sign in first"),
        ("RCPT", "554 5.7.1 Blocked"),
        ("CONTENT", "554 Refused"),
        ("CONTENT", "550 5.7.26 Unauthenticated"),
    ],
)
async def test_the_third_recipient_running_with_trouble_of_the_sender_holds_the_mailbox(
    smtp: World, server: ScriptedServer, phase: Any, words: str
) -> None:
    first, second, third, fourth = await others(smtp, 4)
    server.on(phase, words)
    for walk in (first, first, second):
        outcome = await walk.due().send()
        assert isinstance(outcome, WaitUntil)
        assert outcome.why.code == WhyCode.MAILBOX
    assert await smtp.holds() == []
    assert isinstance(await third.due().send(), WaitUntil)
    [hold] = await smtp.holds()
    assert (hold.kind, hold.target, hold.reason) == ("mailbox", smtp.rep_id, words)
    # All wait: those who had trouble, and who had none yet.
    for walk in (fourth, third):
        held = await walk.due().send()
        assert isinstance(held, Held)
        assert (held.hold_id, held.hold_kind) == (hold.id, HoldKind.MAILBOX)
        assert await walk.state_of(1) == MessageState.SCHEDULED
    told = await smtp.outbox()
    assert {row.enrollment_id for row in told} == {w.id for w in (first, second, third, fourth)}
    assert {row.kind for row in told} == {"hold"}
    assert told[0].payload == {"hold_id": hold.id, "kind": "mailbox"}


async def test_no_connection_for_three_recipients_running_holds_the_mailbox(world: World) -> None:
    await world.staff(
        Mailbox(
            "grace@example.com",
            Server("127.0.0.1", await refused_port(), Tls.NONE),
            batch=None,
            daily=None,
        )
    )
    mailer = SmtpMailer(deadlines=HASTY)
    outcomes = [await walk.send(mailer) for walk in await others(world, 3)]
    assert {type(outcome) for outcome in outcomes} == {WaitUntil}
    [hold] = await world.holds()
    assert "Connect call failed" in hold.reason or "refused" in hold.reason
    await mailer.close()


async def test_an_accepted_email_ends_the_count_of_trouble(world: World) -> None:
    walks = await others(world, 4)
    for walk in walks[:2]:
        world.memory.once(Phase.MAIL, 550, "5.7.1 Not you")
        await walk.send()
    assert (await world.mailbox()).last_trouble == "550 5.7.1 Not you"
    await walks[2].send()
    assert (await world.mailbox()).last_trouble is None
    world.memory.once(Phase.MAIL, 550, "5.7.1 Not you")
    await walks[3].send()
    assert await world.holds() == []


async def test_trouble_with_one_recipient_only_is_a_failure_after_five_tries(world: World) -> None:
    walk, *rest = await others(world, 6)
    for number in range(5):
        world.memory.once(Phase.RCPT, 554, "5.7.1 Blocked by policy")
        outcome = await walk.due().send()
        assert isinstance(outcome, WaitUntil if number < 4 else Failed)
        await rest[number].due().send()
    assert isinstance(outcome, Failed)
    assert (outcome.why.code, outcome.why.detail) == (WhyCode.REFUSED, "554")
    assert await world.holds() == []


async def test_the_try_that_holds_the_mailbox_waits_and_does_not_fail(world: World) -> None:
    walk, second, third, *rest = await others(world, 7)
    for other in rest:
        world.memory.once(Phase.MAIL, 554, "5.7.1 Blocked")
        assert isinstance(await walk.due().send(), WaitUntil)
        await other.due().send()
    for other in (second, third):
        world.memory.once(Phase.MAIL, 554, "5.7.1 Blocked")
        await other.due().send()
    world.memory.once(Phase.MAIL, 554, "5.7.1 Blocked")
    outcome = await walk.due().send()
    assert isinstance(outcome, WaitUntil)
    assert outcome.why.code == WhyCode.MAILBOX
    assert len(await world.holds()) == 1


async def test_ten_hard_bounces_running_hold_the_mailbox(world: World) -> None:
    walks = await others(world, 11)
    for walk in walks[:10]:
        assert await world.holds() == []
        world.memory.once(Phase.RCPT, 550, "5.1.1 No such user")
        assert await walk.send() == HardBounce()
    [hold] = await world.holds()
    assert hold.reason == "550 5.1.1 No such user"
    assert isinstance(await walks[10].send(), Held)


async def test_another_5xx_has_failed_with_the_servers_words(
    smtp: World, server: ScriptedServer
) -> None:
    walk = await ada(smtp)
    server.on("CONTENT", "552 5.3.4 Message too big")
    outcome = await walk.send()
    assert isinstance(outcome, Failed)
    assert (outcome.why.code, outcome.why.detail) == (WhyCode.REFUSED, "552")
    message = await walk.message(1)
    assert (message.state, message.answer) == (MessageState.FAILED, "552 5.3.4 Message too big")
    assert (await walk.row()).state == State.FAILED
    assert walk.state.is_stuck


async def test_a_failed_email_is_tried_afresh_when_it_is_retried(world: World) -> None:
    walk = await ada(world)
    world.memory.once(Phase.DATA, 552, "5.3.4 Message too big")
    assert isinstance(await walk.send(), Failed)
    assert isinstance(await walk.again(), Failed)
    handling.retry_step(walk.state, messages.RetryStep(), world.clock())
    assert isinstance(await walk.due().send(), Sent)


async def test_refused_authentication_holds_the_mailbox_at_once_and_nothing_is_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRACE_PASSWORD", "wrong")
    async with ScriptedServer(users={"grace": "right"}) as server:
        await world.staff(server.mailbox())
        mailer = SmtpMailer(deadlines=HASTY)
        walk, other = await others(world, 2)
        outcome = await walk.send(mailer)
        assert isinstance(outcome, WaitUntil)
        assert (outcome.why.code, outcome.why.detail) == (WhyCode.MAILBOX, "authentication")
        [hold] = await world.holds()
        assert hold.kind == "mailbox"
        assert hold.reason.startswith("535")
        assert isinstance(await other.send(mailer), Held)
        assert await walk.state_of(1) == MessageState.SCHEDULED
        assert (await walk.message(1)).tries == 0
        await mailer.close()


@pytest.mark.parametrize("doing", [DROP, STALL])
@pytest.mark.parametrize("phase", ["DATA", "CONTENT"])
async def test_a_connection_lost_after_handing_over_is_in_doubt(
    smtp: World, server: ScriptedServer, phase: Any, doing: Doing
) -> None:
    walk = await ada(smtp)
    server.on(phase, doing)
    assert await walk.send() == InDoubt()
    message = await walk.message(1)
    assert (message.state, message.handing_over_at) == (MessageState.IN_DOUBT, DUE)
    assert (await walk.row()).state == State.IN_DOUBT
    assert await walk.happened() == ["in_doubt"]
    # It is not sent again by itself.
    server.behave()
    assert await walk.again() == InDoubt()
    assert server.received == []


async def test_a_reps_email_that_fails_leaves_its_task_open_with_the_reason(world: World) -> None:
    walk = await world.enroll(campaign(email(send="task")))
    await walk.open_task()
    world.memory.once(Phase.DATA, 552, "5.3.4 Message too big")
    assert isinstance(await walk.send(by_rep=True), Failed)
    task = await walk.task()
    assert (task.status, task.trouble["code"]) == (TaskStatus.OPEN, "refused")


async def test_a_reps_email_that_is_sent_closes_its_task(world: World) -> None:
    walk = await world.enroll(campaign(email(send="task"), email(send="same_time")))
    await walk.open_task()
    world.clock.now = local("2026-11-23T14:20:31")
    assert isinstance(await walk.send(by_rep=True), Sent)
    task = await walk.task(1)
    assert (task.status, task.closed_at) == (TaskStatus.COMPLETED, world.clock())
    assert (await walk.message(2)).due_at == local("2026-11-24T14:20")
