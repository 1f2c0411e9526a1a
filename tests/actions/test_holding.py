from datetime import timedelta

import pytest
from sqlalchemy import select

from activities.guarding import guard
from activities.outcomes import Held, NotSent
from drumbeat.actions import ending, holding, steering
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.actions.telling import Told, not_ended, unconfirmed
from drumbeat.campaign.states import HoldKind, Outcome
from drumbeat.mail.rendering import Renderer
from drumbeat.store import mailboxes as mailboxes_table
from drumbeat.store import outbox as outbox_table
from drumbeat.store.engine import Store
from drumbeat.store.schema import audit, enrollments, holds, mailboxes, outbox, texts
from tests.actions.tables_only import desk_without_temporal
from tests.activities.world import MONDAY, Clock, Walk, World, call, campaign, email

ADA = "ada@example.org"
NO_WAIT = timedelta(0)


@pytest.fixture
async def world(store: Store) -> World:
    """Tables on both databases, a clock that stands still, and Grace, who writes."""
    clock = Clock()
    store._clock = clock
    async with Renderer() as renderer:
        world = World(store, clock, renderer)
        await world.staff()
        return world


@pytest.fixture
async def ada(world: World) -> Walk:
    return await world.enroll(campaign(email(), call()))


async def against(walk: Walk) -> Held | NotSent | None:
    async with walk.world.store.read() as tx:
        return await guard(tx, await walk.row(), walk.address, (), walk.world.clock())


async def test_a_hold_acts_at_once_and_is_noted_for_every_running_workflow(
    world: World, ada: Walk
) -> None:
    desk = desk_without_temporal(world.store)
    until = MONDAY + timedelta(days=2)
    told = await holding.hold(
        desk,
        HoldKind.CAMPAIGN,
        "intro-q4",
        until=until,
        reason=" price change ",
        default_who=world.rep_id,
    )
    [hold] = await world.holds()
    assert told == Told(1, (f"hold/{hold.id}",))
    assert (hold.kind, hold.target, hold.reason) == ("campaign", "intro-q4", "price change")
    assert await against(ada) == Held(hold_id=hold.id, hold_kind=HoldKind.CAMPAIGN, until=until)
    [row] = await world.outbox()
    assert (row.kind, row.key) == ("hold", f"hold/{hold.id}/{ada.id}")
    assert row.payload | {"reason_id": ""} == {
        "hold_id": hold.id,
        "kind": "campaign",
        "until": until.isoformat(),
        "reason_id": "",
        "who": world.rep_id,
    }
    [text] = await world.rows(texts, texts.c.id == row.payload["reason_id"])
    assert text.text == "price change"
    [noted] = await world.rows(audit)
    assert (noted.action, noted.target, noted.why, noted.who) == (
        "hold_campaign",
        "intro-q4",
        "price change",
        world.rep_id,
    )


async def test_a_hold_that_would_end_in_the_past_is_refused(world: World) -> None:
    with pytest.raises(ActionError, match="passed already"):
        await holding.hold(
            desk_without_temporal(world.store), HoldKind.CAMPAIGN, "intro-q4", until=MONDAY
        )
    assert await world.holds() == []


async def test_release_lifts_every_hold_of_the_kind_and_leaves_the_others(
    world: World, ada: Walk
) -> None:
    desk = desk_without_temporal(world.store)
    for kind, target in (
        (HoldKind.PERSON, ada.person_id),
        (HoldKind.PERSON, ada.person_id),
        (HoldKind.CAMPAIGN, "intro-q4"),
    ):
        await holding.hold(desk, kind, target)
    told = await holding.release(desk, [(HoldKind.PERSON, ada.person_id)])
    assert told is not None
    assert (told.enrollments, len(told.keys)) == (2, 2)
    held = await against(ada)
    assert isinstance(held, Held) and held.hold_kind is HoldKind.CAMPAIGN
    rows = await world.rows(outbox, outbox.c.kind == "release")
    assert {row.payload["hold_id"] for row in rows} == {
        hold.id for hold in await world.holds() if hold.kind == "person"
    }


async def test_nothing_to_release_is_told_apart(world: World, ada: Walk) -> None:
    desk = desk_without_temporal(world.store)
    assert await holding.release(desk, [(HoldKind.PERSON, ada.person_id)]) is None


async def test_releasing_a_mailbox_forgets_its_troubles(world: World, ada: Walk) -> None:
    desk = desk_without_temporal(world.store)
    await holding.hold(desk, HoldKind.MAILBOX, world.rep_id)
    async with world.store.write() as tx:
        await mailboxes_table.troubled(tx, world.rep_id, ada.person_id, "550 go away")
    await holding.release(desk, [(HoldKind.MAILBOX, world.rep_id)])
    [row] = await world.rows(mailboxes)
    assert row.last_trouble is None
    assert await against(ada) is None


async def test_a_person_is_held_everywhere_and_released_everywhere(world: World, ada: Walk) -> None:
    desk = desk_without_temporal(world.store)
    done = await steering.hold(desk, ADA, until="2026-11-24T09:00", reason="on leave")
    assert done.until is not None and done.until.isoformat() == "2026-11-24T14:00:00+00:00"
    [hold] = await world.holds()
    assert (hold.target, hold.who) == (ada.person_id, world.rep_id)
    await steering.hold(desk, ADA, "intro-q4")
    assert {hold.target for hold in await world.holds()} == {ada.person_id, ada.id}
    released = await steering.release(desk, ADA)
    assert len(released.told.keys) == 2
    assert await against(ada) is None


async def test_a_hold_in_one_campaign_is_released_there(world: World, ada: Walk) -> None:
    desk = desk_without_temporal(world.store)
    await steering.hold(desk, ADA)
    with pytest.raises(ActionError, match="is not held in intro-q4 only"):
        await steering.release(desk, ADA, "intro-q4")
    await steering.hold(desk, ADA, "intro-q4")
    await steering.release(desk, ADA, "intro-q4")
    held = await against(ada)
    assert isinstance(held, Held)


async def test_releasing_somebody_who_is_not_held_is_refused(world: World, ada: Walk) -> None:
    with pytest.raises(ActionError, match="is not held as a person"):
        await steering.release(desk_without_temporal(world.store), ADA)


async def test_nobody_is_found_under_an_unknown_address(world: World, ada: Walk) -> None:
    with pytest.raises(NotFound, match=r"nobody has the address bob@example\.org"):
        await steering.hold(desk_without_temporal(world.store), "bob@example.org")


async def test_who_acts_must_be_a_rep(world: World, ada: Walk) -> None:
    desk = desk_without_temporal(world.store, "stranger@example.com")
    with pytest.raises(ActionError, match=r"no rep has the address stranger@example\.com"):
        await steering.hold(desk, ADA)
    assert await world.holds() == []


async def test_an_end_is_read_by_the_guard_at_once_and_the_first_one_wins(
    world: World, ada: Walk
) -> None:
    desk = desk_without_temporal(world.store)
    done = await steering.end(desk, ADA, success=True, reason="has signed")
    assert done.told.enrollments == 1
    stopped = await against(ada)
    assert isinstance(stopped, NotSent) and stopped.outcome is Outcome.SUCCESS
    again = await steering.end(desk, ADA)
    assert again.told.enrollments == 0
    row = await ada.row()
    assert row.end_asked["outcome"] == "success"
    [told] = await world.outbox()
    assert (told.kind, told.key) == ("end", f"end/{ada.id}")
    assert (told.payload["success"], told.payload["who"]) == (True, world.rep_id)
    assert told.payload["reason_id"] == row.end_asked["reason_id"]


async def test_who_has_ended_cannot_be_ended_again(world: World, ada: Walk) -> None:
    await ada.change_row(ended_at=MONDAY, outcome="replied", state="ended")
    with pytest.raises(ActionError, match="intro-q4 ended as replied, Mon 23 Nov 2026, 08:00"):
        await steering.end(desk_without_temporal(world.store), ADA)


async def test_waiting_ends_when_the_workflows_have_confirmed(world: World, ada: Walk) -> None:
    desk = desk_without_temporal(world.store)
    done = await steering.end(desk, ADA)
    hold = await steering.hold(desk, ADA)
    assert await not_ended(world.store, done.which, wait=NO_WAIT) == 1
    assert await unconfirmed(world.store, hold.told, wait=NO_WAIT) == 1
    async with world.store.write() as tx:
        for row in (await tx.execute(select(outbox))).all():
            await outbox_table.done(tx, row.id, MONDAY, "delivered")
    await ada.change_row(ended_at=MONDAY)
    assert await not_ended(world.store, done.which) == 0
    assert await unconfirmed(world.store, hold.told) == 0


async def test_a_campaigns_end_reaches_everybody_who_runs(world: World, ada: Walk) -> None:
    bob = await world.enroll(campaign(email(), call()), "bob@example.org")
    cem = await world.enroll(campaign(email(), call()), "cem@example.org")
    await cem.change_row(ended_at=MONDAY, outcome="replied", state="ended")
    told = await ending.end(
        desk_without_temporal(world.store),
        enrollments.c.campaign == "intro-q4",
        target="intro-q4",
        success=False,
        reason=None,
    )
    assert told.enrollments == 2
    assert {row.enrollment_id for row in await world.outbox()} == {ada.id, bob.id}
    assert (await cem.row()).end_asked is None
    assert await world.rows(holds) == []
