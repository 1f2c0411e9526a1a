"""Before each new try of an email that the server deferred, everything is looked at afresh."""

from collections.abc import Awaitable, Callable
from datetime import time, timedelta

import pytest

from activities.outcomes import Held, NotSent, SendOutcome, Sent, WaitUntil
from drumbeat.campaign.model import Window
from drumbeat.campaign.states import HoldKind, MessageState, Outcome, WhyCode
from drumbeat.mail.outcomes import Phase
from drumbeat.reps import Limit, Mailbox
from drumbeat.store import holds, suppressions
from tests.activities.world import NOWHERE, Walk, World, campaign, email, local


async def deferred(world: World) -> Walk:
    """Greylisted at its first try, to be tried again in a minute."""
    window = Window(start=time(8), end=time(18))
    what = campaign(email(), email(), sending_window=window)
    walk = (await world.enroll(what)).due()
    world.memory.once(Phase.RCPT, 450, "4.2.0 Greylisted")
    outcome = await walk.send()
    assert isinstance(outcome, WaitUntil)
    assert outcome.why.code == WhyCode.RETRY
    assert (await walk.message(1)).tries == 1
    return walk.due()


async def suppress(world: World, walk: Walk) -> None:
    async with world.store.write() as tx:
        await suppressions.add(
            tx,
            kind="address",
            value="ada@example.org",
            source="unsubscribed",
            reason=None,
            who=None,
            now=world.clock(),
        )


async def hold(world: World, walk: Walk) -> None:
    async with world.store.write() as tx:
        await holds.insert(
            tx,
            hold_id="h1",
            kind=HoldKind.REP,
            target=world.rep_id,
            until=None,
            reason=None,
            who=None,
            now=world.clock(),
        )


async def end(world: World, walk: Walk) -> None:
    await walk.change_row(end_asked={"outcome": "removed", "reason_id": None, "who": None})


async def close_the_window(world: World, walk: Walk) -> None:
    world.clock.now = local("2026-11-23T18:05")


async def use_the_limits_up(world: World, walk: Walk) -> None:
    other = await world.enroll(campaign(email(send="10:00")), "ben@example.org")
    world.clock.now = local("2026-11-23T10:00")
    assert isinstance(await other.send(), Sent)


Meanwhile = Callable[[World, Walk], Awaitable[None]]


@pytest.mark.parametrize(
    ("meanwhile", "expected"),
    [
        (suppress, (NotSent, Outcome.UNSUBSCRIBED)),
        (end, (NotSent, Outcome.REMOVED)),
        (hold, (Held, "h1")),
        (close_the_window, (WaitUntil, WhyCode.WINDOW)),
        (use_the_limits_up, (WaitUntil, WhyCode.LIMITS)),
    ],
    ids=["suppressed", "ended", "held", "window", "limits"],
)
async def test_a_try_looks_once_more(
    world: World, meanwhile: Meanwhile, expected: tuple[type, str]
) -> None:
    one_a_minute = Limit(1, timedelta(seconds=60))
    await world.staff(Mailbox("grace@example.com", NOWHERE, batch=one_a_minute, daily=None))
    walk = await deferred(world)
    before = len(world.memory.received)
    await meanwhile(world, walk)
    others = len(world.memory.received) - before
    outcome = await walk.send()
    assert (type(outcome), what(outcome)) == expected
    assert len(world.memory.received) == before + others
    if isinstance(outcome, WaitUntil):
        assert await walk.state_of(1) == MessageState.SCHEDULED
        assert isinstance(await walk.due().send(), Sent)


def what(outcome: SendOutcome) -> str:
    match outcome:
        case NotSent(outcome=ends):
            return ends
        case Held(hold_id=hold_id):
            return hold_id
        case WaitUntil(why=why):
            return why.code
        case _:
            return outcome.kind
