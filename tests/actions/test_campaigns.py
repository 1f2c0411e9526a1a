from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest

from drumbeat.actions import campaigns
from drumbeat.actions.campaigns import CampaignShown
from drumbeat.actions.delivery import Delivery
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.actions.telling import unconfirmed
from drumbeat.campaign.record import What
from drumbeat.campaign.states import Outcome, State
from drumbeat.mail.outcomes import Phase
from drumbeat.mail.rendering import Renderer
from drumbeat.store.engine import Store
from drumbeat.store.schema import audit
from tests.actions.tables_only import desk_without_temporal
from tests.activities.world import MONDAY, Clock, Walk, World, bump, call, campaign, email, local
from tests.office import Office

INTRO = campaign(email(), call(), bump())
BLOCKED = campaign(email("<p>{{ industry }}</p>"), call())


@pytest.fixture
async def world(store: Store) -> AsyncIterator[World]:
    """Tables on both databases, a clock that stands still, and Grace, who writes."""
    clock = Clock()
    store._clock = clock
    async with Renderer() as renderer:
        world = World(store, clock, renderer)
        await world.staff()
        yield world


async def enroll(world: World, name: str, what: Any = INTRO) -> Walk:
    walk = await world.enroll(what, f"{name}@example.org")
    await walk.change_row(step=1, next_at=walk.state.due.at)  # as enrolling writes it
    return walk


async def shown(world: World, slug: str = "intro-q4") -> CampaignShown:
    async with world.store.read() as tx:
        return await campaigns.show(tx, slug, world.clock())


def figures(one: CampaignShown) -> list[dict[str, int]]:
    """Each step's counts, those of nothing left out."""
    return [
        {name: number for name, number in asdict(step.counts).items() if number and name != "step"}
        for step in one.steps
    ]


async def test_people_count_at_the_step_where_they_stand(world: World) -> None:
    walks = [await enroll(world, name) for name in ("ada", "bob", "cem")]
    assert figures(await shown(world)) == [{"waiting": 3}, {}, {}]
    await walks[0].due().send()
    assert figures(await shown(world)) == [{"due": 2, "sent": 1}, {"waiting": 1}, {}]
    await walks[0].due().open_task()
    world.clock.now = local("2026-11-24T12:00")
    assert figures(await shown(world)) == [{"due": 2, "sent": 1}, {"due": 1}, {}]
    one = await shown(world)
    assert (one.enrolled, one.running, one.ended, one.success_rate) == (3, 3, {}, None)
    assert [(step.day, step.kind, step.title) for step in one.steps] == [
        (1, "email", "intro"),
        (2, "call", "Introduce yourself"),
        (3, "email", "intro"),
    ]


async def test_what_was_done_and_skipped_counts_where_it_happened(world: World) -> None:
    ada, bob = await enroll(world, "ada"), await enroll(world, "bob")
    await ada.due().send()
    await ada.due().open_task()
    now = world.clock()
    ada.state.note(now, What.TASK_COMPLETED, step=2)
    await ada.record()
    bob.skip()
    await bob.record()
    found = figures(await shown(world))
    assert (found[0]["sent"], found[0]["skipped"], found[1]["done"]) == (1, 1, 1)


async def test_an_email_that_is_blocked_or_failed_is_due(world: World) -> None:
    ada, bob = await enroll(world, "ada", BLOCKED), await enroll(world, "bob", BLOCKED)
    await ada.due().send()
    world.memory.once(Phase.DATA, 552, "5.3.4 too big")
    await bob.mend(industry="mining")
    await bob.due().send()
    found = figures(await shown(world))
    assert found == [{"due": 2}, {}]


async def test_a_reply_and_an_unsubscribing_count_at_the_last_email_before(world: World) -> None:
    ada, bob, cem = [await enroll(world, name) for name in ("ada", "bob", "cem")]
    for walk in (ada, bob):
        await walk.due().send()
    now = world.clock() + timedelta(hours=1)
    for walk, what, outcome in (
        (ada, What.REPLIED, Outcome.REPLIED),
        (bob, What.UNSUBSCRIBED, Outcome.UNSUBSCRIBED),
        (cem, What.REPLIED, Outcome.REPLIED),  # to another campaign: nothing was sent here
    ):
        walk.state.note(now, what)
        walk.state.finish(outcome, now)
        await walk.record()
    one = await shown(world)
    assert figures(one) == [{"sent": 2, "replied": 1, "unsubscribed": 1}, {}, {}]
    assert (one.running, dict(one.ended)) == (0, {"replied": 2, "unsubscribed": 1})
    assert one.success_rate == 0


async def test_an_address_that_the_server_refuses_counts_as_bounced(world: World) -> None:
    ada = await enroll(world, "ada")
    world.memory.once(Phase.RCPT, 550, "5.1.1 unknown")
    await ada.due().send()
    await ada.record()
    one = await shown(world)
    assert figures(one) == [{"bounced": 1}, {}, {}]
    assert dict(one.ended) == {"bounced": 1}


async def test_emails_left_out_after_a_bounce_count_as_skipped(world: World) -> None:
    ada = await enroll(world, "ada", campaign(email(), call(), bump(), remove_on_bounce=False))
    world.memory.once(Phase.RCPT, 550, "5.1.1 unknown")
    await ada.due().send()
    await ada.record()
    await ada.due().open_task()
    ada.skip()
    await ada.record()
    found = figures(await shown(world))
    assert found[0] == {"bounced": 1}
    assert found[2]["skipped"] == 1


async def test_lists_say_how_many_run_and_what_is_held(world: World) -> None:
    ada = await enroll(world, "ada")
    await enroll(world, "bob")
    await ada.change_row(ended_at=MONDAY, outcome="success", state="ended")
    desk = desk_without_temporal(world.store, "grace@example.com")
    await campaigns.hold(desk, "intro-q4", until=None, reason="price change")
    async with world.store.read() as tx:
        [one] = await campaigns.every(tx, MONDAY)
    assert (one.slug, one.enrolled, one.running, one.success_rate) == ("intro-q4", 2, 1, 1.0)
    assert [(hold.reason, hold.who) for hold in one.holds] == [("price change", "Grace Hopper")]


async def test_a_moment_is_local_to_the_campaigns_zone_else_the_reps(world: World) -> None:
    await enroll(world, "ada")
    desk = desk_without_temporal(world.store)
    _, at, zone = await campaigns.hold(desk, "intro-q4", until="2026-11-24T09:00", reason=None)
    assert (at, zone.key) == (local("2026-11-24T09:00"), "America/New_York")
    [hold] = await world.holds()
    assert (hold.kind, hold.target, hold.until) == ("campaign", "intro-q4", at)


async def test_hold_release_and_end_name_an_unknown_campaign(world: World) -> None:
    desk = desk_without_temporal(world.store)
    for asked in (
        campaigns.hold(desk, "nowhere", until=None, reason=None),
        campaigns.release(desk, "nowhere", reason=None),
        campaigns.end(desk, "nowhere", success=False, reason=None),
        campaigns.retry(desk, "nowhere"),
        campaigns.archive(desk, "nowhere", undo=False),
        shown(world, "nowhere"),
    ):
        with pytest.raises(NotFound, match="there is no campaign nowhere"):
            await asked


async def test_everybody_who_runs_is_ended(world: World) -> None:
    ada, bob = await enroll(world, "ada"), await enroll(world, "bob")
    desk = desk_without_temporal(world.store)
    told = await campaigns.end(desk, "intro-q4", success=False, reason="sold out")
    assert told.enrollments == 2
    for walk in (ada, bob):
        assert (await walk.row()).end_asked["outcome"] == "removed"
        await walk.change_row(ended_at=MONDAY, outcome="removed", state="ended")
    with pytest.raises(ActionError, match="nobody runs in campaign intro-q4"):
        await campaigns.end(desk, "intro-q4", success=False, reason=None)


async def test_releasing_a_campaign_that_is_not_held_is_refused(world: World) -> None:
    await enroll(world, "ada")
    desk = desk_without_temporal(world.store)
    with pytest.raises(ActionError, match="campaign intro-q4 is not held"):
        await campaigns.release(desk, "intro-q4", reason=None)


async def test_only_what_is_stuck_is_tried_again(world: World) -> None:
    ada, _ = await enroll(world, "ada", BLOCKED), await enroll(world, "bob", BLOCKED)
    desk = desk_without_temporal(world.store)
    with pytest.raises(ActionError, match="nothing failed or is blocked"):
        await campaigns.retry(desk, "intro-q4")
    await ada.due().send()
    await ada.change_row(state="held")  # which hides that it is blocked
    told = await campaigns.retry(desk, "intro-q4")
    assert told.enrollments == 1
    [row] = await world.outbox()
    assert (row.kind, row.enrollment_id) == ("retry_step", ada.id)


async def test_a_campaign_is_archived_and_brought_back(world: World) -> None:
    await enroll(world, "ada")
    desk = desk_without_temporal(world.store)
    await campaigns.archive(desk, "intro-q4", undo=False)
    assert (await shown(world)).archived_at == MONDAY
    with pytest.raises(ActionError, match="is archived"):
        await campaigns.archive(desk, "intro-q4", undo=False)
    await campaigns.archive(desk, "intro-q4", undo=True)
    assert (await shown(world)).archived_at is None
    assert [row.action for row in await world.rows(audit)] == ["archive", "unarchive"]


async def test_what_is_tried_again_goes_on_by_the_workflow(quick_office: Office) -> None:
    office = quick_office
    what = campaign(email("<p>{{ industry }}</p>", send="choose"), call())
    one = await office.enroll(what, send_at="now")
    await office.until(one, lambda p: p.state is State.BLOCKED)
    await office.mend(one, industry="mining")
    told = await campaigns.retry(office.desk, "intro-q4")
    await Delivery(office.store, office.client, office.task_queue).drain()
    assert await unconfirmed(office.store, told) == 0
    await office.until(one, lambda p: p.step == 2)
    message = await office.message(one, 1)
    assert message is not None and message.state == "sent"
