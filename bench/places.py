"""What it takes to find a place in a mailbox's limits while many emails wait for theirs."""

import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import delete, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from activities.seeking import seek
from bench.cluster import cluster
from bench.report import Figure, Say, percentile, phase
from bench.stage import BenchFailed
from drumbeat.mail import limits
from drumbeat.reps import Limit
from drumbeat.store import ledger
from drumbeat.store.engine import Store, migrate, open_store
from drumbeat.store.schema import full_spans, marks, reps

NAME = "places"
WAITING = (10, 1_000, 10_000)
ASKS = 200
AIM_MS = 5
MAILBOX = "r0123456789ab"
LIMITS = limits.with_spare((Limit(1_000, timedelta(hours=24)), Limit(25, timedelta(seconds=45))))
"""A mailbox's own, where its owner says nothing else."""
NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)


async def measure(say: Say) -> list[Figure]:
    """Ask for places on SQLite and on PostgreSQL.

    Raises:
        BenchFailed: A place is not the one that a look at all marks finds.
    """
    figures = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="drumbeat-places-")))
        urls = {
            "SQLite": f"sqlite:///{folder / 'drumbeat.db'}",
            "PostgreSQL": stack.enter_context(cluster())[0],
        }
        for database, url in urls.items():
            with phase(say, f"places on {database}"):
                figures.append(await _on(database, url))
    return figures


async def _on(database: str, url: str) -> Figure:
    await migrate(url)
    store = await open_store(url)
    try:
        async with store.write() as tx:
            row = {"id": MAILBOX, "email": "grace@example.com", "name": "Grace"}
            await tx.execute(insert(reps).values(row | {"updated_at": NOW}))
        floor = percentile(await _bare(store), 50) * 1000
        taken = {waiting: await _ask(store, waiting) for waiting in WAITING}
    finally:
        await store.close()
    medians = {waiting: percentile(times, 50) * 1000 for waiting, times in taken.items()}
    p99s = {waiting: percentile(times, 99) * 1000 for waiting, times in taken.items()}
    numbers = {"floor": floor} | {
        f"median_{waiting}": median for waiting, median in medians.items()
    }
    return Figure(
        name=NAME,
        title=f"taking a place with {', '.join(f'{n:,}' for n in WAITING)} waiting, {database}",
        measured=", ".join(f"{medians[n]:.1f} ms (p99 {p99s[n]:.1f})" for n in WAITING),
        floor=f"{floor:.1f} ms for the transaction alone",
        aim=f"median under {AIM_MS} ms",
        reached=max(medians.values()) < AIM_MS,
        bound=(
            "Five statements, whatever the number: it begins behind what is known to be full. "
            "The first who asks after a place was given back walks along the marks behind it."
        ),
        numbers=numbers | {f"p99_{waiting}": p99 for waiting, p99 in p99s.items()},
    )


async def _ask(store: Store, waiting: int) -> list[float]:
    """Seconds that each of some asks takes; as many emails have their places already."""
    places: list[datetime] = []
    at = NOW
    for _ in range(waiting + ASKS):  # each asks where the last one was put: quick
        at = limits.earliest(at, places, LIMITS)
        places.append(at)
    async with store.write() as tx:
        await tx.execute(delete(marks))
        await tx.execute(delete(full_spans))
        for first in range(0, waiting, 5_000):
            part = places[first : min(first + 5_000, waiting)]
            await tx.execute(insert(marks), [_mark(at, first + i) for i, at in enumerate(part)])
    times, found = [], []
    for number in range(ASKS):
        began = time.perf_counter()
        async with store.write() as tx:
            found.append(await _take(tx, waiting + number))
        times.append(time.perf_counter() - began)
    if found != places[waiting:]:
        raise BenchFailed("a place is not the earliest one")
    return times


async def _bare(store: Store) -> list[float]:
    """Seconds that a transaction takes which only adds a mark."""
    times = []
    for number in range(ASKS):
        began = time.perf_counter()
        async with store.write() as tx:
            await tx.execute(insert(marks).values(_mark(NOW, number)))
        times.append(time.perf_counter() - began)
    return times


async def _take(tx: AsyncConnection, number: int) -> datetime:
    """As the send activity does."""
    await ledger.lock_mailbox(tx, MAILBOX)
    await ledger.give_missed_back(tx, MAILBOX, NOW - limits.VALID_FOR)
    at = await seek(tx, MAILBOX, NOW, LIMITS, leave=lambda at: at)
    await tx.execute(insert(marks).values(_mark(at, number)))
    return at


def _mark(at: datetime, number: int) -> dict[str, object]:
    email = {"enrollment_id": f"e{number}", "step": 1, "attempt": 0}
    return {"mailbox": MAILBOX, "at": at, "handed_over": False, "first": True} | email
