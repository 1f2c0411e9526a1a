from datetime import timedelta

from drumbeat.campaign.states import HoldKind
from drumbeat.store import holds, outbox
from drumbeat.store.engine import Store
from tests.store.building import NOW, campaign, enrollment, rep

SECOND = timedelta(seconds=1)


async def test_a_message_with_a_known_key_is_noted_once(store: Store) -> None:
    async with store.write() as tx:
        await rep(tx)
        await enrollment(tx, "e1")
        for is_new in (True, False):
            noted = await outbox.put(
                tx, "e1", kind="hold", key="hold/h1/e1", payload={"hold_id": "h1"}, now=NOW
            )
            assert noted is is_new
        [row] = await outbox.waiting(tx, NOW, 10)
        assert row.payload == {"hold_id": "h1", "enrollment_id": "e1"}
        assert (row.workflow_id, row.tries) == ("campaign/intro/p1", 0)


async def test_everybody_who_runs_is_told_once(store: Store) -> None:
    async with store.write() as tx:
        await rep(tx)
        await enrollment(tx, "e1", person="p1")
        await enrollment(tx, "e2", person="p2")
        await enrollment(tx, "e3", person="p3", changes={"ended_at": NOW})
        await enrollment(tx, "e4", person="p1", what=campaign("other"))
        which = holds.held_by(HoldKind.CAMPAIGN, "intro")
        payload = {"hold_id": "h1", "kind": "campaign"}
        for expected in (2, 0):
            told = await outbox.put_for_running(
                tx, which, kind="hold", key="hold/h1", payload=payload, now=NOW
            )
            assert told == expected
        rows = await outbox.waiting(tx, NOW, 10)
        assert [(row.key, row.enrollment_id) for row in rows] == [
            ("hold/h1/e1", "e1"),
            ("hold/h1/e2", "e2"),
        ]
        assert rows[0].payload == payload
        assert await outbox.count_waiting(tx, "hold/h1") == 2
        assert await outbox.count_waiting(tx, "hold/h_") == 0


async def test_what_is_claimed_is_left_alone_until_its_moment(store: Store) -> None:
    async with store.write() as tx:
        await rep(tx)
        await enrollment(tx, "e1")
        await outbox.put(tx, "e1", kind="hold", key="k1", payload={}, now=NOW)
        [row] = await outbox.waiting(tx, NOW, 10)
        await outbox.claim(tx, [row.id], NOW + 30 * SECOND)
        assert await outbox.waiting(tx, NOW + 29 * SECOND, 10) == []
        [row] = await outbox.waiting(tx, NOW + 30 * SECOND, 10)
        assert row.tries == 1


async def test_two_workers_do_not_take_the_same_message(store: Store) -> None:
    async with store.write() as tx:
        await rep(tx)
        await enrollment(tx, "e1")
        for number in range(4):
            await outbox.put(tx, "e1", kind="hold", key=f"k{number}", payload={}, now=NOW)

    async def take() -> list[str]:
        async with store.write() as tx:
            rows = await outbox.waiting(tx, NOW, 2)
            await outbox.claim(tx, [row.id for row in rows], NOW + SECOND)
            return [row.key for row in rows]

    assert sorted(await take() + await take()) == ["k0", "k1", "k2", "k3"]
    assert await take() == []


async def test_pauses_grow_up_to_a_bound(store: Store) -> None:
    async with store.write() as tx:
        await rep(tx)
        await enrollment(tx, "e1")
        await outbox.put(tx, "e1", kind="hold", key="k1", payload={}, now=NOW)
        now, pauses = NOW, []
        for _ in range(12):
            [row] = await outbox.waiting(tx, now, 1)
            await outbox.claim(tx, [row.id], now)
            await outbox.postpone(tx, row, now, "unreachable")
            assert await outbox.waiting(tx, now, 1) == []
            later = now
            while not await outbox.waiting(tx, later, 1):
                later += SECOND
            pauses.append((later - now).total_seconds())
            now = later
        assert pauses[:4] == [2, 4, 8, 16]
        assert pauses[-1] == 300


async def test_what_is_confirmed_waits_no_more(store: Store) -> None:
    async with store.write() as tx:
        await rep(tx)
        await enrollment(tx, "e1")
        await outbox.put(tx, "e1", kind="hold", key="k1", payload={}, now=NOW)
        [row] = await outbox.waiting(tx, NOW, 1)
        await outbox.done(tx, row.id, NOW, "delivered")
        await outbox.postpone(tx, row, NOW, "too late")
        assert await outbox.waiting(tx, NOW + timedelta(days=1), 1) == []
        assert await outbox.count_waiting(tx, "k1") == 0


async def test_a_message_can_be_kept_back(store: Store) -> None:
    async with store.write() as tx:
        await rep(tx)
        await enrollment(tx, "e1")
        later = NOW + SECOND
        await outbox.put(tx, "e1", kind="start", key="k1", payload={}, now=NOW, not_before=later)
        assert await outbox.waiting(tx, NOW, 1) == []
        assert len(await outbox.waiting(tx, later, 1)) == 1
