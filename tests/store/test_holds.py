from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign.states import HoldKind
from drumbeat.store import holds
from drumbeat.store.engine import Store
from drumbeat.store.schema import enrollments
from tests.store.building import NOW, REP, enrollment, rep

SECOND = timedelta(seconds=1)
TARGETS = {
    HoldKind.PERSON: "p1",
    HoldKind.OUT_OF_OFFICE: "p1",
    HoldKind.CAMPAIGN: "intro",
    HoldKind.REP: REP,
    HoldKind.MAILBOX: REP,
}


async def put(
    tx: AsyncConnection, hold_id: str, kind: HoldKind, target: str, **changes: Any
) -> bool:
    values: dict[str, Any] = {"until": None, "reason": None, "who": None, "now": NOW} | changes
    return await holds.insert(tx, hold_id=hold_id, kind=kind, target=target, **values)


@pytest.mark.parametrize("kind", list(HoldKind))
async def test_a_hold_holds_whom_it_names_until_it_is_released(
    store: Store, kind: HoldKind
) -> None:
    async with store.write() as tx:
        await rep(tx)
        row = await enrollment(tx, "e1")
        assert await put(tx, "h1", kind, TARGETS[kind], reason="why", who="r1")
        assert not await put(tx, "h1", kind, TARGETS[kind])
        [hold] = await holds.active(tx, row, NOW)
        assert (hold.id, hold.kind, hold.reason, hold.who) == ("h1", kind, "why", "r1")
        held = select(enrollments.c.id).where(holds.held_by(kind, TARGETS[kind]))
        assert (await tx.execute(held)).scalars().all() == ["e1"]
        assert await holds.mark_released(tx, "h1", "r2", NOW + SECOND)
        assert not await holds.mark_released(tx, "h1", "r3", NOW + 2 * SECOND)
        assert await holds.active(tx, row, NOW) == []
        found = await holds.find(tx, "h1")
        assert found is not None
        assert (found.released_at, found.released_by) == (NOW + SECOND, "r2")
        assert not await put(tx, "h1", kind, TARGETS[kind])


@pytest.mark.parametrize("kind", list(HoldKind))
async def test_a_hold_on_another_holds_nobody_else(store: Store, kind: HoldKind) -> None:
    async with store.write() as tx:
        await rep(tx)
        row = await enrollment(tx, "e1")
        await put(tx, "h1", kind, "another")
        assert await holds.active(tx, row, NOW) == []


async def test_a_hold_ends_at_its_moment(store: Store) -> None:
    async with store.write() as tx:
        await rep(tx)
        row = await enrollment(tx, "e1")
        await put(tx, "h1", HoldKind.PERSON, "p1", until=NOW + SECOND)
        assert len(await holds.active(tx, row, NOW)) == 1
        assert await holds.active(tx, row, NOW + SECOND) == []
        assert await holds.of_target(tx, HoldKind.PERSON, "p1", NOW + SECOND) == []


async def test_holds_come_in_the_order_of_their_kinds_and_of_setting(store: Store) -> None:
    async with store.write() as tx:
        await rep(tx)
        row = await enrollment(tx, "e1")
        await put(tx, "h1", HoldKind.MAILBOX, REP)
        await put(tx, "h2", HoldKind.PERSON, "p1", now=NOW + SECOND)
        await put(tx, "h3", HoldKind.PERSON, "e1", now=NOW)
        assert [hold.id for hold in await holds.active(tx, row, NOW)] == ["h3", "h2", "h1"]
        assert [h.id for h in await holds.of_target(tx, HoldKind.PERSON, "p1", NOW)] == ["h2"]


async def test_a_hold_that_is_not_there_is_none(store: Store) -> None:
    async with store.write() as tx:
        assert await holds.find(tx, "h9") is None
        assert not await holds.mark_released(tx, "h9", None, NOW)
