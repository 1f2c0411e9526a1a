from drumbeat.store import mailboxes
from drumbeat.store.engine import Store
from tests.store.building import NOW, REP


async def test_trouble_counts_recipients_and_not_tries(store: Store) -> None:
    async with store.write() as tx:
        assert await mailboxes.find(tx, REP) is None
        assert await mailboxes.troubled(tx, REP, "p1", "554 No") == 1
        assert await mailboxes.troubled(tx, REP, "p1", "554 No") == 1
        assert await mailboxes.troubled(tx, REP, "p2", "554 Still no") == 2
        row = await mailboxes.find(tx, REP)
        assert row is not None
        assert (row.troubled_people, row.last_trouble) == (["p1", "p2"], "554 Still no")


async def test_a_delivery_or_a_release_ends_both_counts(store: Store) -> None:
    async with store.write() as tx:
        for end in (mailboxes.delivered, mailboxes.released):
            assert await mailboxes.troubled(tx, REP, "p1", "554 No") == 1
            assert await mailboxes.bounced(tx, REP) == 1
            assert await mailboxes.bounced(tx, REP) == 2
            await end(tx, REP)
            row = await mailboxes.find(tx, REP)
            assert row is not None
            assert (row.troubled_people, row.bounces_running, row.last_trouble) == ([], 0, None)


async def test_mailboxes_do_not_share_their_counts(store: Store) -> None:
    async with store.write() as tx:
        await mailboxes.bounced(tx, REP)
        assert await mailboxes.bounced(tx, "r2") == 1


async def test_a_proof_is_remembered(store: Store) -> None:
    async with store.write() as tx:
        await mailboxes.proved(tx, REP, NOW)
        row = await mailboxes.find(tx, REP)
        assert row is not None
        assert row.proved_at == NOW
