import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from drumbeat.store.engine import (
    DatabaseTooOld,
    Store,
    StoreError,
    database_url,
    insert_new,
    migrate,
    open_store,
)
from drumbeat.store.schema import keys, outbox, reps, texts
from tests.postgres import Cluster

NOW = datetime(2026, 11, 23, 14, 30, 0, 123456, tzinfo=UTC)


class Undone(Exception):
    pass


async def count(store: Store) -> int:
    async with store.read() as tx:
        return (await tx.execute(select(func.count()).select_from(texts))).scalar_one()


async def test_a_transaction_is_kept_at_its_end(store: Store) -> None:
    async with store.write() as tx:
        await tx.execute(insert(texts).values(id="x1", text="kept", at=NOW))
    assert await count(store) == 1


async def test_an_error_undoes_the_transaction(store: Store) -> None:
    with pytest.raises(Undone):
        async with store.write() as tx:
            await tx.execute(insert(texts).values(id="x1", text="undone", at=NOW))
            raise Undone
    assert await count(store) == 0


async def test_a_cancelled_transaction_is_undone_and_the_next_has_its_turn(store: Store) -> None:
    inside = asyncio.Event()

    async def stalls() -> None:
        async with store.write() as tx:
            await tx.execute(insert(texts).values(id="x1", text="undone", at=NOW))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(stalls())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with store.write() as tx:
        await tx.execute(insert(texts).values(id="x2", text="kept", at=NOW))
    assert await count(store) == 1


async def test_readers_see_one_state_and_change_nothing(store: Store) -> None:
    async with store.read() as tx:
        before = (await tx.execute(select(func.count()).select_from(texts))).scalar_one()
        async with store.write() as writer:
            await writer.execute(insert(texts).values(id="x1", text="meanwhile", at=NOW))
        after = (await tx.execute(select(func.count()).select_from(texts))).scalar_one()
        assert (before, after) == (0, 0)
    with pytest.raises((DBAPIError, StoreError)):
        async with store.read() as tx:
            await tx.execute(insert(texts).values(id="x2", text="refused", at=NOW))
    assert await count(store) == 1


async def test_a_hundred_writers_at_once_lose_nothing(store: Store) -> None:
    async with store.write() as tx:
        await tx.execute(insert(texts).values(id="x1", text="0", at=NOW))

    async def add_one() -> None:
        async with store.write() as tx:
            wanted = select(texts.c.text).where(texts.c.id == "x1").with_for_update()
            found = (await tx.execute(wanted)).scalar_one()
            await tx.execute(update(texts).values(text=str(int(found) + 1)))

    await asyncio.gather(*(add_one() for _ in range(100)))
    async with store.read() as tx:
        assert (await tx.execute(select(texts.c.text))).scalar_one() == "100"


@pytest.fixture(params=["sqlite", "postgresql"])
async def two_stores(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Store, Store]]:
    """As two processes have them."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'shared.db'}"
    else:
        cluster: Cluster = request.getfixturevalue("postgres_cluster")
        url = cluster.url(cluster.create_database("shared"))
    await migrate(url)
    one, other = await open_store(url), await open_store(url)
    yield one, other
    await one.close()
    await other.close()


async def test_two_processes_that_write_take_turns(two_stores: tuple[Store, Store]) -> None:
    async def write(store: Store, number: int) -> None:
        async with store.write() as tx:
            await tx.execute(insert(texts).values(id=f"x{number}", text="", at=NOW))

    work = [write(two_stores[number % 2], number) for number in range(40)]
    await asyncio.gather(*work)
    assert await count(two_stores[0]) == 40


async def test_moments_come_back_in_utc_to_the_microsecond(store: Store) -> None:
    tokyo = NOW.astimezone(tz=None)
    async with store.write() as tx:
        await tx.execute(insert(texts).values(id="x1", text="", at=tokyo))
    async with store.read() as tx:
        at = (await tx.execute(select(texts.c.at))).scalar_one()
    assert at == NOW
    assert at.utcoffset() == timedelta(0)


async def test_a_moment_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(Exception, match="a moment needs a zone"):
        async with store.write() as tx:
            naive = NOW.replace(tzinfo=None)
            await tx.execute(insert(texts).values(id="x1", text="", at=naive))


async def test_now_is_the_databases_or_the_given_clocks(store: Store) -> None:
    async with store.read() as tx:
        now = await store.now(tx)
    assert now.utcoffset() == timedelta(0)
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)
    store._clock = lambda: NOW
    async with store.read() as tx:
        assert await store.now(tx) == NOW


async def test_now_goes_on_within_a_transaction(store: Store) -> None:
    async with store.write() as tx:
        first = await store.now(tx)
        while await store.now(tx) == first:
            pass


async def test_inserting_says_whether_the_row_is_new(store: Store) -> None:
    row = {"id": "x1", "text": "first", "at": NOW}
    async with store.write() as tx:
        assert await insert_new(tx, texts, row)
        assert not await insert_new(tx, texts, row | {"text": "second"})
    async with store.read() as tx:
        assert (await tx.execute(select(texts.c.text))).scalar_one() == "first"


async def test_a_wrong_statement_is_no_trouble_of_the_database(store: Store) -> None:
    with pytest.raises(IntegrityError):
        async with store.write() as tx:
            await tx.execute(insert(keys).values(name="people", value=b""))
            await tx.execute(insert(reps).values(id="r1"))


async def test_rows_that_point_to_nothing_are_refused(store: Store) -> None:
    with pytest.raises(IntegrityError):
        async with store.write() as tx:
            await tx.execute(
                insert(outbox).values(
                    key="k", enrollment_id="nobody", kind="hold", payload={}, not_before=NOW
                )
            )


async def test_what_is_committed_on_sqlite_is_on_the_disk(sqlite_store: Store) -> None:
    async with sqlite_store.write() as tx:
        assert (await tx.execute(text("PRAGMA synchronous"))).scalar_one() == 2  # FULL
        assert (await tx.execute(text("PRAGMA journal_mode"))).scalar_one() == "wal"
        assert (await tx.execute(text("PRAGMA foreign_keys"))).scalar_one() == 1


async def test_a_server_that_was_restarted_costs_nobody_an_error(
    two_stores: tuple[Store, Store],
) -> None:
    one, other = two_stores
    if "sqlite" in str(one._url):
        return
    async with one.write() as tx:
        pid = (await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    async with other.write() as tx:
        await tx.execute(text(f"SELECT pg_terminate_backend({pid})"))
    assert await count(one) == 0


async def test_a_connection_that_breaks_inside_is_trouble_of_the_database(
    two_stores: tuple[Store, Store],
) -> None:
    one, other = two_stores
    if "sqlite" in str(one._url):
        return
    with pytest.raises(StoreError, match="cannot be reached"):
        async with one.write() as tx:
            pid = (await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            async with other.write() as other_tx:
                await other_tx.execute(text(f"SELECT pg_terminate_backend({pid})"))
            await tx.execute(text("SELECT 1"))


async def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DatabaseTooOld):
        await open_store(f"sqlite:///{tmp_path / 'none.db'}")
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://localhost/beat", "begins with mysql://, which Drumbeat does not know"),
        ("sqlite://", "names no file"),
        ("no url at all", "cannot be read"),
    ],
)
def test_a_url_that_cannot_be_used_is_one_line(url: str, words: str) -> None:
    with pytest.raises(StoreError, match=words) as raised:
        database_url(url)
    assert "\n" not in str(raised.value)
