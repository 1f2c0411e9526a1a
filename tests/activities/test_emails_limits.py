"""Places within a mailbox's limits, and the sending window and days at the moment of sending."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select
from temporalio.common import Priority
from temporalio.testing import ActivityEnvironment

from activities.emails import ASKING, Emails
from activities.outcomes import AWAITED, Sent, WaitUntil
from drumbeat.campaign.model import Window
from drumbeat.campaign.states import HoldKind, MessageState, State, WhyCode
from drumbeat.mail.outcomes import Delivery
from drumbeat.mail.sending import Envelope
from drumbeat.reps import Limit, Mailbox
from drumbeat.store import holds, schema
from drumbeat.store.schema import enrollments
from tests.activities.world import NOWHERE, Walk, World, campaign, email, local, on
from tests.copying import values_of
from tests.mail.memory import MemoryMailer

DUE = local("2026-11-23T09:30")
TWO_IN_45 = Limit(2, timedelta(seconds=45))


def mailbox(**limits: Any) -> Mailbox:
    unlimited: dict[str, Any] = {"batch": None, "daily": None}
    return Mailbox("grace@example.com", NOWHERE, **(unlimited | limits))


async def people(world: World, number: int, **settings: Any) -> list[Walk]:
    what = campaign(email(), email(), **settings)
    return [(await world.enroll(what, f"p{n}@example.org")).due() for n in range(number)]


async def handed_over(world: World) -> list[datetime]:
    return sorted(mark.at for mark in await world.marks() if mark.handed_over)


async def places(world: World) -> list[datetime]:
    return sorted(mark.at for mark in await world.marks() if not mark.handed_over)


async def test_what_the_limits_delay_takes_a_place_and_waits_for_it(world: World) -> None:
    await world.staff(mailbox(batch=TWO_IN_45))
    first, second, third, fourth, fifth = await people(world, 5)
    assert isinstance(await first.send(), Sent)
    assert isinstance(await second.send(), Sent)
    # Planned with 5 s to spare.
    for walk, wait in ((third, 50), (fourth, 50), (fifth, 100)):
        outcome = await walk.send()
        assert isinstance(outcome, WaitUntil)
        assert outcome.at == DUE + timedelta(seconds=wait)
        assert (outcome.why.code, outcome.why.until) == (WhyCode.LIMITS, outcome.at)
        assert outcome.on == on("2026-11-23")
        message = await walk.message(1)
        assert (message.state, message.due_at) == (MessageState.SCHEDULED, outcome.at)
        assert message.why["code"] == "limits"
        assert (await walk.row()).next_at == outcome.at
    assert len(await places(world)) == 3
    for walk in (third, fourth, fifth):
        assert isinstance(await walk.due().send(), Sent)
    assert await places(world) == []
    assert len(await handed_over(world)) == 5


async def test_a_place_is_valid_for_five_seconds(world: World) -> None:
    await world.staff(mailbox(batch=Limit(1, timedelta(seconds=45))))
    first, second, third = await people(world, 3)
    await first.send()
    for walk in (second, third):
        assert isinstance(await walk.send(), WaitUntil)
    second.due()
    world.clock.advance(timedelta(seconds=5))
    assert isinstance(await second.send(), Sent)


async def test_a_missed_place_is_taken_anew_and_the_places_of_others_count(world: World) -> None:
    await world.staff(mailbox(batch=Limit(1, timedelta(seconds=45))))
    first, second, third = await people(world, 3)
    await first.send()
    for walk in (second, third):
        assert isinstance(await walk.send(), WaitUntil)
    second.due()
    world.clock.advance(timedelta(seconds=5.1))
    outcome = await second.send()
    assert isinstance(outcome, WaitUntil)
    # Behind the third one's place, at 100 s.
    assert outcome.at == DUE + timedelta(seconds=150)
    assert await places(world) == [DUE + timedelta(seconds=s) for s in (100, 150)]


async def test_a_place_that_is_given_back_goes_to_the_next_who_asks(world: World) -> None:
    await world.staff(mailbox(batch=Limit(1, timedelta(seconds=45))))
    first, second, third, fourth = await people(world, 4)
    await first.send()
    for walk in (second, third):
        await walk.send()
    async with world.store.write() as tx:
        await holds.insert(
            tx,
            hold_id="h1",
            kind=HoldKind.PERSON,
            target=second.person_id,
            until=None,
            reason=None,
            who=None,
            now=world.clock(),
        )
    assert (await second.send()).kind == "held"
    outcome = await fourth.send()
    assert isinstance(outcome, WaitUntil)
    assert outcome.at == DUE + timedelta(seconds=50)


async def test_a_place_that_nobody_used_keeps_nobody_waiting(world: World) -> None:
    await world.staff(mailbox(daily=2))
    first, missing, asks = await people(world, 3)
    await first.send()
    # It has its place at once, and is gone before it says anything to the server.
    with pytest.raises(RuntimeError):
        await missing.run(missing.asking(), Gone())
    assert len(await places(world)) == 1
    world.clock.advance(timedelta(seconds=6))
    assert isinstance(await asks.send(), Sent)


async def test_a_place_that_the_window_takes_away_is_given_back(world: World) -> None:
    await world.staff(mailbox(batch=Limit(1, timedelta(seconds=45))))
    window = Window(start=time(8), end=time(18))
    first, second = await people(world, 2, sending_window=window)
    world.clock.now = local("2026-11-23T18:00")
    await first.send()
    assert isinstance(await second.send(), WaitUntil)
    assert await places(world) == [local("2026-11-23T18:00:50")]
    world.clock.now = local("2026-11-23T18:01:30")
    assert isinstance(await second.send(), WaitUntil)
    assert await places(world) == []


async def test_no_span_ever_holds_more_marks_than_the_limit(world: World) -> None:
    limits = {"batch": Limit(3, timedelta(seconds=45)), "daily": 10}
    await world.staff(mailbox(**limits))
    waiting = await people(world, 14)
    while waiting:
        walk = min(waiting, key=lambda walk: walk.state.due.at)
        world.clock.now = max(world.clock.now, walk.state.due.at)
        if isinstance(await walk.send(), Sent):
            waiting.remove(walk)
        world.clock.advance(timedelta(seconds=0.7))
    marks = await handed_over(world)
    assert len(marks) == 14
    for at in marks:
        for count, span in ((3, timedelta(seconds=45)), (10, timedelta(hours=24))):
            assert sum(at <= other < at + span for other in marks) <= count


async def test_a_reps_own_send_counts_what_was_sent_and_displaces_places(world: World) -> None:
    await world.staff(mailbox(batch=Limit(2, timedelta(seconds=45))))
    first, waiting, later = await people(world, 3)
    rep_sends = [
        await world.enroll(campaign(email(send="task")), f"r{n}@example.net") for n in range(2)
    ]
    for walk in rep_sends:
        await walk.open_task()
    await first.send()
    world.clock.advance(timedelta(seconds=1))
    await waiting.send()
    blocked = await later.send()
    assert isinstance(blocked, WaitUntil)
    later.due()
    # Two are recorded up to the place of `later`, 50 s behind the first; one has left the span.
    for walk in rep_sends:
        assert isinstance(await walk.send(by_rep=True), Sent)
    displaced = await later.send()
    assert isinstance(displaced, WaitUntil)
    assert displaced.at > world.clock()
    assert await later.state_of(1) == MessageState.SCHEDULED
    assert isinstance(await later.due().send(), WaitUntil | Sent)


async def test_a_reps_own_send_waits_for_the_recorded_sends_only(world: World) -> None:
    await world.staff(mailbox(batch=Limit(1, timedelta(seconds=45))))
    first, second = await people(world, 2)
    own = await world.enroll(campaign(email(send="task")), "own@example.net")
    await own.open_task()
    await first.send()
    await second.send()  # has the place at 50 s
    outcome = await own.send(by_rep=True)
    assert isinstance(outcome, WaitUntil)
    assert (outcome.at, outcome.why.code) == (DUE + timedelta(seconds=45), WhyCode.LIMITS)
    assert (await own.row()).state == "task"
    world.clock.now = outcome.at
    assert isinstance(await own.send(by_rep=True), Sent)


async def test_first_emails_are_limited_by_the_owners_date_and_follow_ups_are_not(
    world: World,
) -> None:
    await world.staff(mailbox(first_emails_per_day=2), timezone="Asia/Tokyo")
    first, second, third, fourth = await people(world, 4)
    for walk in (first, second):
        assert isinstance(await walk.send(), Sent)
    # 09:30 in New York is 23:30 in Tokyo: another day begins there half an hour later.
    for walk in (third, fourth):
        outcome = await walk.send()
        assert isinstance(outcome, WaitUntil)
        assert outcome.at == local("2026-11-23T10:00")
        assert outcome.why.code == WhyCode.LIMITS
    for walk in (third, fourth):
        assert isinstance(await walk.due().send(), Sent)
    for walk in (first, second, third, fourth):
        assert isinstance(await walk.due().send(), Sent)


async def test_a_place_on_another_date_falls_under_r9(world: World) -> None:
    await world.staff(mailbox(daily=1))
    window = Window(start=time(8), end=time(18))
    first, second = await people(world, 2, skip_weekends=True, sending_window=window)
    world.clock.now = local("2026-11-23T17:30")
    assert isinstance(await first.send(), Sent)
    outcome = await second.send()
    assert isinstance(outcome, WaitUntil)
    # 24 hours and 5 s after Monday 17:30; it takes Tuesday, and its clock time there is past.
    assert (outcome.at, outcome.on) == (local("2026-11-24T17:30:05"), on("2026-11-24"))


async def test_on_a_later_date_it_leaves_at_its_clock_time(world: World) -> None:
    (walk,) = await people(world, 1)
    world.clock.now = local("2026-11-24T07:00")
    outcome = await walk.send()
    assert isinstance(outcome, WaitUntil)
    assert (outcome.at, outcome.on) == (local("2026-11-24T09:30"), on("2026-11-24"))
    assert outcome.why.code == WhyCode.TIME


async def test_late_on_its_own_date_it_leaves_at_once(world: World) -> None:
    (walk,) = await people(world, 1)
    world.clock.now = local("2026-11-23T23:00")
    assert isinstance(await walk.send(), Sent)


async def test_outside_the_window_it_waits_for_it_and_says_so(world: World) -> None:
    window = Window(start=time(8), end=time(18))
    walk, other = await people(world, 2, sending_window=window, skip_weekends=True)
    world.clock.now = local("2026-11-23T18:00:59")
    assert isinstance(await other.send(), Sent)
    world.clock.now = local("2026-11-23T18:01")
    outcome = await walk.send()
    assert isinstance(outcome, WaitUntil)
    assert outcome.why.code == WhyCode.WINDOW
    assert (outcome.at, outcome.on) == (local("2026-11-24T08:00"), on("2026-11-24"))


async def test_on_a_weekend_it_waits_for_a_sending_day(world: World) -> None:
    (walk,) = await people(world, 1, skip_weekends=True)
    world.clock.now = local("2026-11-28T12:00")
    outcome = await walk.send()
    assert isinstance(outcome, WaitUntil)
    assert (outcome.at, outcome.on) == (local("2026-11-30T09:30"), on("2026-11-30"))
    assert outcome.why.code == WhyCode.TIME


async def test_a_reps_send_waits_for_no_window_and_no_day(world: World) -> None:
    window = Window(start=time(8), end=time(18))
    what = campaign(email(send="task"), skip_weekends=True, sending_window=window)
    walk = await world.enroll(what)
    await walk.open_task()
    world.clock.now = local("2026-11-28T23:00")
    assert isinstance(await walk.send(by_rep=True), Sent)


class Gone(MemoryMailer):
    """Is gone before it has said anything."""

    async def deliver(self, *_: object) -> Delivery:
        raise RuntimeError


class Slow(MemoryMailer):
    """Takes its time before the mark."""

    def __init__(self, world: World, takes: timedelta) -> None:
        super().__init__()
        self.world, self.takes = world, takes

    async def deliver(
        self,
        mailbox: Mailbox,
        envelope: Envelope,
        content: bytes,
        handing_over: Callable[[], Awaitable[bool]],
    ) -> Delivery:
        self.world.clock.advance(self.takes)
        return await super().deliver(mailbox, envelope, content, handing_over)


async def test_a_server_that_is_slow_before_data_does_not_keep_an_email_for_ever(
    world: World,
) -> None:
    await world.staff(mailbox(batch=TWO_IN_45))
    (walk,) = await people(world, 1)
    assert isinstance(await walk.send(Slow(world, timedelta(seconds=20))), Sent)


async def test_a_server_that_is_slow_before_data_breaks_no_limit(world: World) -> None:
    await world.staff(mailbox(batch=Limit(1, timedelta(seconds=45))))
    first, second = await people(world, 2)
    await first.send()
    await second.send()
    slow = Slow(world, timedelta(seconds=20))
    third = (await world.enroll(campaign(email()), "late@example.org")).due()
    world.clock.now = DUE + timedelta(seconds=110)
    # Its place was at 110 s; at 130 s the second one, still waiting, has none in the way any more.
    assert isinstance(await third.send(slow), Sent)
    assert isinstance(await second.send(), WaitUntil)


async def test_what_would_leave_after_the_window_because_the_server_is_slow_does_not(
    world: World,
) -> None:
    window = Window(start=time(8), end=time(18))
    (walk,) = await people(world, 1, sending_window=window)
    world.clock.now = local("2026-11-23T18:00:55")
    outcome = await walk.send(Slow(world, timedelta(seconds=20)))
    assert isinstance(outcome, WaitUntil)
    assert outcome.at == local("2026-11-24T08:00")
    assert await handed_over(world) == []
    assert (await walk.message(1)).due_at == outcome.at
    assert isinstance(await walk.due().send(), Sent)


@pytest.mark.parametrize("number", [30])
async def test_all_who_ask_at_once_get_places_one_after_another(world: World, number: int) -> None:
    await world.staff(mailbox(batch=Limit(5, timedelta(seconds=45))))
    walks = await people(world, number)
    outcomes = await asyncio.gather(*(walk.send() for walk in walks))
    now = [outcome for outcome in outcomes if isinstance(outcome, Sent)]
    assert len(now) == 5
    waits = sorted(o.at - DUE for o in outcomes if isinstance(o, WaitUntil))
    assert [wait.total_seconds() for wait in waits] == [
        50.0 * n for n in range(1, 6) for _ in range(5)
    ]


async def fallen_due(world: World, like: Walk, names: range, state: State) -> None:
    """Enrollments whose step has fallen due, whose workflows have not come up yet."""
    async with world.store.write() as tx:
        wanted = select(enrollments).where(enrollments.c.id == like.id)
        one = values_of((await tx.execute(wanted)).one())
        person = select(schema.people).where(schema.people.c.id == like.person_id)
        body = values_of((await tx.execute(person)).one())
        same = [{"id": f"p{n}", "person_id": f"p{n}", "email": f"c{n}@example.org"} for n in names]
        await tx.execute(insert(schema.people), [{**body, **each} for each in same])
        waits = {"state": state, "next_at": DUE}
        await tx.execute(insert(enrollments), [{**one, **each, **waits} for each in same])


async def test_in_a_crowd_no_place_lies_before_all_have_asked(world: World) -> None:
    await world.staff(mailbox(batch=Limit(1, timedelta(seconds=5))))
    first, second, third, fourth = await people(world, 4)
    assert isinstance(await first.send(), Sent)
    await fallen_due(world, first, range(1000), State.HELD)
    await fallen_due(world, first, range(1000, 1090), State.SLEEPING)
    waits = await second.send()
    assert isinstance(waits, WaitUntil)
    # Planned with 5 s to spare; fewer than a hundred ask within 5 s, in which a place is valid.
    assert waits.at == DUE + timedelta(seconds=10)
    await fallen_due(world, first, range(2000, 2510), State.SLEEPING)
    for walk, wait in ((third, 30), (fourth, 40)):
        waits = await walk.send()
        assert isinstance(waits, WaitUntil)
        assert (waits.at, waits.why.code) == (DUE + timedelta(seconds=wait), WhyCode.LIMITS)


async def test_an_email_with_a_place_passes_a_crowd_that_asks(world: World) -> None:
    await world.staff()
    first, second = await people(world, 2)
    emails = Emails(world.store, world.letters, world.memory)
    for _ in range(ASKING):
        await emails._asking.acquire()
    asking = ActivityEnvironment()
    waiting = asyncio.create_task(asking.run(emails.send_email, first.asking()))
    awaited = ActivityEnvironment()
    awaited.info = replace(awaited.info, priority=Priority(priority_key=AWAITED))
    result = await awaited.run(emails.send_email, second.asking())
    assert isinstance(result.outcome, Sent)
    assert not waiting.done()
    emails._asking.release()
    assert isinstance((await waiting).outcome, Sent)
