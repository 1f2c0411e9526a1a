"""Two workers that send at once, from one mailbox and one database."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from activities.outcomes import Held, Sent, WaitUntil
from drumbeat.campaign.states import MessageState
from drumbeat.mail.outcomes import Phase
from drumbeat.mail.rendering import Renderer
from drumbeat.reps import Limit, Mailbox
from drumbeat.store.engine import open_store
from tests.activities.world import NOWHERE, Walk, World, campaign, email


@pytest.fixture
async def other(world: World, renderer: Renderer) -> AsyncIterator[World]:
    """The second worker: a store and a mailer of its own, on the same database."""
    url = world.store._url.render_as_string(hide_password=False)
    store = await open_store(url, world.clock)
    second = World(store, world.clock, renderer)
    await second.staff()
    yield second
    await store.close()


async def crowd(world: World, number: int) -> list[Walk]:
    what = campaign(email(), email())
    return [(await world.enroll(what, f"p{index}@example.org")).due() for index in range(number)]


def on(world: World, walk: Walk) -> Walk:
    """The same enrollment, worked by another worker."""
    walk.world = world
    return walk


async def test_every_email_leaves_once_though_both_workers_try_each(
    world: World, other: World
) -> None:
    walks = await crowd(world, 20)
    sends = [walk.asking() for walk in walks]
    first = [walk.run(send) for walk, send in zip(walks, sends, strict=True)]
    tries = asyncio.gather(*first)
    await tries
    again = [on(other, walk).run(send) for walk, send in zip(walks, sends, strict=True)]
    assert {type(outcome) for outcome in await asyncio.gather(*again)} == {Sent}
    copies = Counter(r.recipients for r in world.memory.received + other.memory.received)
    assert len(copies) == 20
    assert set(copies.values()) == {1}


async def test_both_workers_at_the_same_moment_send_each_email_at_most_once(
    world: World, other: World
) -> None:
    walks = await crowd(world, 20)
    sends = [walk.asking() for walk in walks]
    attempts = []
    for walk, send in zip(walks, sends, strict=True):
        attempts += [walk.run(send), walk.run(send, other.mailer)]
    await asyncio.gather(*attempts)
    copies = Counter(r.recipients for r in world.memory.received + other.memory.received)
    assert len(copies) == 20
    assert set(copies.values()) == {1}
    for walk in walks:
        assert await walk.state_of(1) == MessageState.SENT


async def test_both_workers_together_keep_the_limits(world: World, other: World) -> None:
    limited = Mailbox(
        "grace@example.com", NOWHERE, batch=Limit(4, timedelta(seconds=45)), daily=None
    )
    await world.staff(limited)
    await other.staff(limited)
    walks = await crowd(world, 16)
    for walk in walks[::2]:
        on(other, walk)
    waiting = list(walks)
    while waiting:
        world.clock.now = max(world.clock.now, min(walk.state.due.at for walk in waiting))
        ready = [walk for walk in waiting if walk.state.due.at <= world.clock.now]
        outcomes = await asyncio.gather(*(walk.send() for walk in ready))
        for walk, outcome in zip(ready, outcomes, strict=True):
            if isinstance(outcome, Sent):
                waiting.remove(walk)
        world.clock.advance(timedelta(seconds=1))
    marks = sorted(mark.at for mark in await world.marks() if mark.handed_over)
    assert len(marks) == 16
    for at in marks:
        assert sum(at <= one < at + timedelta(seconds=45) for one in marks) <= 4


@pytest.mark.parametrize(("phase", "code"), [(Phase.AUTH, 535), (Phase.MAIL, 550)])
async def test_trouble_that_both_workers_have_holds_the_mailbox_once(
    world: World, other: World, phase: Phase, code: int
) -> None:
    walks = await crowd(world, 12)
    for index, walk in enumerate(walks):
        worker = other if index % 2 else world
        worker.memory.once(phase, code, "5.7.8 No")
        on(worker, walk)
    outcomes = await asyncio.gather(*(walk.send() for walk in walks))
    assert all(isinstance(outcome, WaitUntil | Held) for outcome in outcomes)
    assert len(await world.holds()) == 1
    told = await world.outbox()
    assert len(told) == len({row.enrollment_id for row in told}) == 12
