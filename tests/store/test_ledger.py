from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign.states import MessageState, Why, WhyCode
from drumbeat.store import ledger, places
from drumbeat.store.engine import Store
from drumbeat.store.schema import marks
from tests.store.building import NOW, REP, enrollment, rep

SECOND = timedelta(seconds=1)


async def scheduled(tx: AsyncConnection, enrollment_id: str = "e1", step: int = 2) -> Row[Any]:
    """An email that waits; enrollment and rep are made where they are not there."""
    if await ledger_row(tx, enrollment_id) is None:
        row = await enrollment(tx, enrollment_id, person=f"p-{enrollment_id}")
    else:
        row = await ledger.enrollment(tx, enrollment_id)
    await ledger.schedule(tx, row, step, NOW, NOW)
    return await message(tx, enrollment_id, step)


async def ledger_row(tx: AsyncConnection, enrollment_id: str) -> Row[Any] | None:
    try:
        return await ledger.enrollment(tx, enrollment_id)
    except LookupError:
        return None


async def message(tx: AsyncConnection, enrollment_id: str = "e1", step: int = 2) -> Row[Any]:
    found = await ledger.message(tx, enrollment_id, step)
    assert found is not None
    return found


async def sending(tx: AsyncConnection, attempt: int = 1, enrollment_id: str = "e1") -> Row[Any]:
    row = await scheduled(tx, enrollment_id)
    await ledger.change(tx, row, NOW, MessageState.SENDING, attempt=attempt, handing_over_at=None)
    return await message(tx, enrollment_id)


async def all_marks(tx: AsyncConnection) -> Sequence[Row[Any]]:
    return (await tx.execute(select(marks).order_by(marks.c.at))).all()


async def test_an_email_is_scheduled_once_and_its_time_changes_while_it_waits(
    store: Store,
) -> None:
    async with store.write() as tx:
        await rep(tx)
        first = await scheduled(tx)
        assert (first.state, first.due_at, first.mailbox) == ("scheduled", NOW, REP)
        assert first.message_id.endswith("@example.com>")
        row = await ledger.enrollment(tx, "e1")
        await ledger.schedule(tx, row, 2, NOW + SECOND, NOW)
        assert (await message(tx)).due_at == NOW + SECOND
        await ledger.schedule(tx, row, 2, None, NOW)
        assert (await message(tx)).due_at == NOW + SECOND
        await ledger.change(tx, first, NOW, MessageState.SENT)
        await ledger.schedule(tx, row, 2, NOW + 2 * SECOND, NOW)
        assert (await message(tx)).due_at == NOW + SECOND


async def test_the_lowest_numbered_email_is_the_first_one(store: Store) -> None:
    async with store.write() as tx:
        await rep(tx)
        assert (await scheduled(tx, step=2)).first
        assert not (await scheduled(tx, step=3)).first


async def test_a_state_comes_with_its_reason_or_without_any(store: Store) -> None:
    async with store.write() as tx:
        await rep(tx)
        row = await scheduled(tx)
        why = Why(code=WhyCode.LIMITS, until=NOW)
        await ledger.change(tx, row, NOW, MessageState.SCHEDULED, why=why)
        assert Why.model_validate((await message(tx)).why) == why
        await ledger.change(tx, row, NOW + SECOND, MessageState.SENT, answer="250 Ok")
        changed = await message(tx)
        assert (changed.why, changed.answer, changed.updated_at) == (None, "250 Ok", NOW + SECOND)


async def test_the_mark_is_set_once_by_the_attempt_of_now(store: Store) -> None:
    async with store.write() as tx:
        await rep(tx)
        row = await sending(tx, attempt=2)
        assert not await ledger.hand_over(tx, row, 1, NOW)
        assert await ledger.hand_over(tx, row, 2, NOW)
        assert not await ledger.hand_over(tx, row, 2, NOW + SECOND)
        assert (await message(tx)).handing_over_at == NOW
        assert [(mark.at, mark.handed_over) for mark in await all_marks(tx)] == [(NOW, True)]


@pytest.mark.parametrize("state", [s for s in MessageState if s is not MessageState.SENDING])
async def test_no_mark_is_set_but_on_an_email_that_is_being_sent(
    store: Store, state: MessageState
) -> None:
    async with store.write() as tx:
        await rep(tx)
        row = await sending(tx)
        await ledger.change(tx, row, NOW, state)
        assert not await ledger.hand_over(tx, row, 1, NOW)
        assert await all_marks(tx) == []


async def test_an_email_has_one_place_which_its_mark_replaces(store: Store) -> None:
    async with store.write() as tx:
        await rep(tx)
        row = await sending(tx)
        assert await ledger.own_place(tx, row) is None
        await ledger.take_place(tx, row, NOW + 50 * SECOND)
        await ledger.take_place(tx, row, NOW + 95 * SECOND)
        assert await ledger.own_place(tx, row) == NOW + 95 * SECOND
        assert len(await all_marks(tx)) == 1
        await ledger.hand_over(tx, row, 1, NOW)
        assert await ledger.own_place(tx, row) is None
        [mark] = await all_marks(tx)
        assert (mark.at, mark.handed_over) == (NOW, True)
        await ledger.give_back(tx, row)
        assert len(await all_marks(tx)) == 1


async def test_what_counts_is_every_mark_of_the_mailbox(store: Store) -> None:
    async with store.write() as tx:
        await rep(tx)
        await rep(tx, "r2")
        one, other = await sending(tx), await sending(tx, enrollment_id="e2")
        await ledger.take_place(tx, other, NOW + 10 * SECOND)
        await ledger.hand_over(tx, one, 1, NOW)
        counted = await places.counted(tx, REP, NOW - SECOND)
        assert list(counted) == [NOW, NOW + 10 * SECOND]
        recorded = await places.counted(tx, REP, NOW - SECOND, only_handed_over=True)
        assert recorded[:] == [NOW]
        assert list(await places.counted(tx, REP, NOW)) == [NOW + 10 * SECOND]
        assert list(await places.counted(tx, "r2", NOW - SECOND)) == []


async def test_a_place_that_was_missed_is_given_back_by_whoever_asks_next(store: Store) -> None:
    async with store.write() as tx:
        await rep(tx)
        one, other = await sending(tx), await sending(tx, enrollment_id="e2")
        await ledger.hand_over(tx, one, 1, NOW)
        await ledger.take_place(tx, other, NOW)
        await ledger.give_missed_back(tx, REP, NOW)
        assert await ledger.own_place(tx, other) == NOW
        await ledger.give_missed_back(tx, REP, NOW + SECOND)
        assert await ledger.own_place(tx, other) is None
        assert len(await all_marks(tx)) == 1


async def test_old_marks_are_forgotten(store: Store) -> None:
    async with store.write() as tx:
        await rep(tx)
        row = await sending(tx)
        await ledger.hand_over(tx, row, 1, NOW)
        await ledger.forget_old_marks(tx, NOW + timedelta(days=1), timedelta(days=2))
        assert len(await all_marks(tx)) == 1
        await ledger.forget_old_marks(tx, NOW + timedelta(days=3), timedelta(days=2))
        assert await all_marks(tx) == []


async def test_earlier_emails_come_in_order(store: Store) -> None:
    async with store.write() as tx:
        await rep(tx)
        await scheduled(tx, step=3)
        await scheduled(tx, step=2)
        assert [row.step for row in await ledger.earlier(tx, "e1", 4)] == [2, 3]
        assert [row.step for row in await ledger.earlier(tx, "e1", 3)] == [2]


async def test_an_enrollment_that_is_not_there_is_named(store: Store) -> None:
    async with store.write() as tx:
        with pytest.raises(LookupError, match="no enrollment e9"):
            await ledger.enrollment(tx, "e9")
