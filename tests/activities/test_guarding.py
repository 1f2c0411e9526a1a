from datetime import timedelta
from typing import Any

import pytest

from activities.outcomes import Held, NotSent, Opened, Sent
from drumbeat.campaign.model import OnReply
from drumbeat.campaign.states import HoldKind, MessageState, Outcome, State
from drumbeat.store import holds, suppressions
from tests.activities.world import Walk, World, call, campaign, email, local


async def ada(world: World, **settings: Any) -> Walk:
    """At the first of two emails, which is due."""
    return (await world.enroll(campaign(email(), email(), **settings))).due()


async def suppress(world: World, kind: suppressions.Kind, value: str, source: str) -> None:
    async with world.store.write() as tx:
        await suppressions.add(
            tx, kind=kind, value=value, source=source, reason=None, who=None, now=world.clock()
        )


async def hold(world: World, kind: HoldKind, target: str, **changes: Any) -> str:
    hold_id = f"h{kind}"
    values: dict[str, Any] = {"until": None, "reason": "absent", "who": None} | changes
    async with world.store.write() as tx:
        await holds.insert(
            tx, hold_id=hold_id, kind=kind, target=target, now=world.clock(), **values
        )
    return hold_id


async def test_a_suppressed_address_gets_nothing_and_the_reason_is_recorded(world: World) -> None:
    walk = await ada(world)
    await suppress(world, "address", "ada@example.org", "unsubscribed")
    outcome = await walk.send()
    assert isinstance(outcome, NotSent)
    assert (outcome.outcome, outcome.why.code) == (Outcome.UNSUBSCRIBED, "suppressed")
    message = await walk.message(1)
    assert message.state == MessageState.CANCELLED
    assert message.why == {"code": "suppressed", "until": None, "detail": "unsubscribed"}
    assert world.memory.attempts == 0
    await walk.record()
    row = await walk.row()
    assert (row.state, row.outcome) == (State.ENDED, Outcome.UNSUBSCRIBED)
    assert await walk.happened() == ["not_sent", "ended"]


async def test_an_address_suppressed_by_us_removes_and_is_no_wish(world: World) -> None:
    walk = await ada(world)
    await suppress(world, "address", "ada@example.org", "manual")
    outcome = await walk.send()
    assert isinstance(outcome, NotSent)
    assert outcome.outcome == Outcome.REMOVED


async def test_a_blocked_domain_gets_nothing(world: World) -> None:
    walk = await ada(world)
    await suppress(world, "domain", "example.org", "manual")
    outcome = await walk.send()
    assert isinstance(outcome, NotSent)
    assert (outcome.outcome, outcome.why.code) == (Outcome.REMOVED, "blocked_domain")
    assert world.memory.attempts == 0


async def test_a_suppression_that_was_lifted_stops_nothing(world: World) -> None:
    walk = await ada(world)
    await suppress(world, "address", "ada@example.org", "manual")
    async with world.store.write() as tx:
        await suppressions.lift(
            tx, "address", "ada@example.org", who=None, why="mistake", now=world.clock()
        )
    assert isinstance(await walk.send(), Sent)


async def test_an_ended_enrollment_sends_nothing(world: World) -> None:
    walk = await ada(world)
    await walk.change_row(ended_at=world.clock(), outcome=Outcome.REPLIED)
    outcome = await walk.send()
    assert isinstance(outcome, NotSent)
    assert (outcome.outcome, outcome.why.code) == (Outcome.REPLIED, "ended")


async def test_an_end_that_was_asked_for_acts_at_once(world: World) -> None:
    walk = await ada(world)
    asked = {"outcome": Outcome.SUCCESS, "reason_id": None, "who": None}
    await walk.change_row(end_asked=asked)
    outcome = await walk.send()
    assert isinstance(outcome, NotSent)
    assert outcome.outcome == Outcome.SUCCESS


@pytest.mark.parametrize(
    ("on_reply", "outcome"),
    [
        (OnReply.END, Outcome.REPLIED),
        (OnReply.END_AS_SUCCESS, Outcome.REPLIED_SUCCESS),
        (OnReply.CONTINUE, None),
    ],
)
async def test_a_reply_stops_the_email_where_the_campaign_ends_on_one(
    world: World, on_reply: OnReply, outcome: Outcome | None
) -> None:
    walk = await ada(world, on_reply=on_reply)
    await walk.change_row(replied_at=world.clock())
    answer = await walk.send()
    if outcome is None:
        assert isinstance(answer, Sent)
    else:
        assert isinstance(answer, NotSent)
        assert (answer.outcome, answer.why.code) == (outcome, "replied")
        assert await walk.again() == answer


@pytest.mark.parametrize("kind", list(HoldKind))
async def test_every_kind_of_hold_stops_an_email_and_is_named(world: World, kind: HoldKind) -> None:
    walk = await ada(world)
    targets = {HoldKind.CAMPAIGN: "intro-q4", HoldKind.REP: world.rep_id}
    targets |= {HoldKind.MAILBOX: world.rep_id}
    until = local("2026-11-30T08:00")
    hold_id = await hold(world, kind, targets.get(kind, walk.person_id), until=until)
    outcome = await walk.send()
    assert outcome == Held(hold_id=hold_id, hold_kind=kind, until=until)
    message = await walk.message(1)
    assert message.state == MessageState.SCHEDULED
    assert message.why == {"code": "hold", "until": "2026-11-30T13:00:00Z", "detail": kind}
    assert world.memory.attempts == 0
    assert walk.state.is_held(world.clock())


async def test_a_hold_on_the_enrollment_alone_stops_it(world: World) -> None:
    walk = await ada(world)
    await hold(world, HoldKind.PERSON, walk.id)
    assert isinstance(await walk.send(), Held)


async def test_a_hold_on_another_person_stops_nothing(world: World) -> None:
    walk = await ada(world)
    await hold(world, HoldKind.PERSON, "p0123")
    assert isinstance(await walk.send(), Sent)


async def test_a_hold_whose_moment_has_come_stops_nothing(world: World) -> None:
    walk = await ada(world)
    await hold(world, HoldKind.PERSON, walk.person_id, until=world.clock())
    assert isinstance(await walk.send(), Sent)


async def test_a_hold_that_the_workflow_knows_to_be_released_stops_nothing(world: World) -> None:
    walk = await ada(world)
    hold_id = await hold(world, HoldKind.CAMPAIGN, "intro-q4")
    walk.state.released.append(hold_id)
    assert isinstance(await walk.send(), Sent)


async def test_a_reps_send_is_held_as_well(world: World) -> None:
    walk = await world.enroll(campaign(email(send="task")))
    await walk.open_task()
    await hold(world, HoldKind.REP, world.rep_id)
    assert isinstance(await walk.send(by_rep=True), Held)


async def test_a_hold_set_while_the_email_is_on_its_way_stops_it_before_data(world: World) -> None:
    walk = await ada(world)
    deliver = world.memory.deliver

    async def meanwhile(*given: Any) -> Any:
        await hold(world, HoldKind.PERSON, walk.person_id)
        return await deliver(*given)

    world.memory.deliver = meanwhile  # type: ignore[method-assign,assignment]  # to come in between
    outcome = await walk.send()
    assert outcome.kind == "wait_until"
    assert world.memory.received == []
    message = await walk.message(1)
    assert (message.state, message.handing_over_at) == (MessageState.SCHEDULED, None)
    world.clock.advance(timedelta(seconds=5))
    assert isinstance(await walk.send(), Held)


@pytest.mark.parametrize("kind", list(HoldKind))
async def test_a_task_is_not_opened_while_held(world: World, kind: HoldKind) -> None:
    walk = await world.enroll(campaign(call()))
    targets = {HoldKind.CAMPAIGN: "intro-q4", HoldKind.REP: world.rep_id}
    targets |= {HoldKind.MAILBOX: world.rep_id}
    hold_id = await hold(world, kind, targets.get(kind, walk.person_id))
    assert await walk.open_task() == Held(hold_id=hold_id, hold_kind=kind)
    walk.state.released.append(hold_id)
    assert await walk.open_task() == Opened()


async def test_a_suppressed_person_still_gets_tasks(world: World) -> None:
    walk = await world.enroll(campaign(call()))
    await suppress(world, "address", "ada@example.org", "bounced")
    assert await walk.open_task() == Opened()


async def test_a_task_is_not_opened_for_who_has_ended(world: World) -> None:
    walk = await world.enroll(campaign(call()))
    asked = {"outcome": Outcome.REMOVED, "reason_id": None, "who": None}
    await walk.change_row(end_asked=asked)
    outcome = await walk.open_task()
    assert isinstance(outcome, NotSent)
    assert outcome.outcome == Outcome.REMOVED
