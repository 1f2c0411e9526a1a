"""Fill a database as a year of work would: campaigns, reps, people, and all that happened.

`python -m bench.filling sqlite:////tmp/full.db` fills one to look at.
"""

import asyncio
import itertools
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, create_engine, insert, text
from sqlalchemy.engine import Engine

from bench.cast import ZONES, campaign, rep_address, rep_name
from bench.report import Say
from bench.year import SINCE, Amounts, Year
from drumbeat.store import campaigns as campaign_versions
from drumbeat.store import keys
from drumbeat.store.engine import database_url, migrate, open_store

BATCH = 5_000
"""Rows of one statement, and of one transaction."""


@dataclass(frozen=True, slots=True)
class Filled:
    """Whom and what the pages are asked for."""

    reps: tuple[str, ...]
    """Their ids; each is a user too."""
    managers: tuple[str, ...]
    campaigns: tuple[str, ...]
    """Slugs."""
    people: dict[str, str]
    """The id of a person -> of the rep who wrote last."""
    rows: dict[str, int]
    """Table -> how many rows."""


def reps_file(amounts: Amounts) -> str:
    """A reps file with the reps that are in the tables."""
    lines = ["reps:"]
    for number in range(amounts.reps):
        zone = ZONES[number % len(ZONES)]
        lines += [
            f"  - email: {rep_address(number)}",
            f"    name: {rep_name(number)}",
            f"    timezone: {zone}",
            "    mailbox: {daily: 200, batch: 10 in 60s}",
        ]
    return "\n".join(lines) + "\n"


def fill(url: str, amounts: Amounts, say: Say) -> Filled:
    """Migrate an empty database and fill it; the same amounts give the same rows.

    Args:
        url: As `DRUMBEAT_DATABASE_URL`.
        amounts: How much.
        say: Shows a line of progress.
    """
    made = asyncio.run(_begin(url, amounts))
    engine = _engine(url)
    rows: dict[str, int] = {}
    try:
        for table, content in made.tables():
            rows[table.name] = _insert(engine, table, content)
            say(f"  {rows[table.name]:,} {table.name}")
        _settle(engine)
    finally:
        engine.dispose()
    return Filled(
        reps=tuple(made.reps), managers=tuple(made.managers), campaigns=tuple(made.slugs),
        people=made.seen_by, rows=rows,
    )  # fmt: skip


async def _begin(url: str, amounts: Amounts) -> "Year":
    await migrate(url)
    store = await open_store(url)
    try:
        async with store.write() as tx:
            key = await keys.people_key(tx)
            now = await store.now(tx)
            known = [campaign(number) for number in range(amounts.campaigns)]
            versions = [await campaign_versions.save(tx, one, {}, now - SINCE) for one in known]
    finally:
        await store.close()
    return Year(amounts, key, now, known, versions)


def _engine(url: str) -> Engine:
    address = database_url(url)
    if address.get_backend_name() == "sqlite":
        return create_engine(address.set(drivername="sqlite"))
    return create_engine(address)


def _insert(engine: Engine, table: Table, rows: Iterable[dict[str, Any]]) -> int:
    """Insert rows in transactions of some thousand; how many there were."""
    number = 0
    source = iter(rows)
    while batch := list(itertools.islice(source, BATCH)):
        with engine.begin() as connection:
            _hurry(connection)
            connection.execute(insert(table), batch)
        number += len(batch)
    return number


def _hurry(connection: Connection) -> None:
    """Check and keep less: the rows fit together, and after a crash they are made again."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL synchronous_commit = off"))
        connection.execute(text("SET LOCAL session_replication_role = replica"))
    else:
        connection.execute(text("PRAGMA synchronous = OFF"))
        connection.execute(text("PRAGMA cache_size = -500000"))  # KB


def _settle(engine: Engine) -> None:
    """What the databases do by themselves in the time that the rows would take to come."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("VACUUM ANALYZE"))
        else:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))


if __name__ == "__main__":
    fill(sys.argv[1], Amounts(), print)
