"""Opens the database: SQLite or PostgreSQL, read and write transactions, and its clock."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Table, event, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from drumbeat.store import migrations

BUSY_TIMEOUT = 60_000
"""Milliseconds that SQLite waits for another process's write."""
POOL_TIMEOUT = 600
"""Seconds that a caller waits for its turn; within a process writes to SQLite queue up."""

Clock = Callable[[], datetime]


class StoreError(Exception):
    """The database cannot be used; the text is one clear line."""


class DatabaseUnreachable(StoreError):
    """The database does not answer, or is not what its URL says."""


class Store:
    """The database. Functions of `drumbeat.store` work inside its transactions."""

    def __init__(self, writer: AsyncEngine, reader: AsyncEngine, clock: Clock | None) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock

    @property
    def is_sqlite(self) -> bool:
        """Whether one process at a time writes, and the machine's clock counts."""
        return self._writer.dialect.name == "sqlite"

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write; committed at its end, rolled back on an exception.

        On SQLite it takes the database's one write lock at once, so that what it reads stays true.
        """
        async with self._writer.begin() as tx:
            yield tx

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads, and sees one state of the database."""
        async with self._reader.begin() as tx:
            yield tx

    async def now(self, tx: AsyncConnection) -> datetime:
        """Now, UTC: the database server's clock, on SQLite the machine's; a test's where given."""
        if self._clock is not None:
            return self._clock().astimezone(UTC)
        if self.is_sqlite:
            return datetime.now(UTC)
        found = await tx.execute(select(func.clock_timestamp()))
        at: datetime = found.scalar_one()
        return at.astimezone(UTC)

    async def close(self) -> None:
        """Close every connection."""
        await self._writer.dispose()
        if self._reader is not self._writer:
            await self._reader.dispose()


async def open_store(url: str, clock: Clock | None = None) -> Store:
    """Open a database whose schema is up to date (`migrate`).

    Args:
        url: Such as `sqlite:///var/drumbeat.db` or `postgresql://user@host/name`.
        clock: A test's clock in place of the database's.

    Raises:
        StoreError: It cannot be opened.
    """
    parsed = database_url(url)
    if parsed.get_backend_name() == "sqlite":
        asynchronous = parsed.set(drivername="sqlite+aiosqlite")
        writer = _sqlite(asynchronous, begin="BEGIN IMMEDIATE", connections=1)
        store = Store(writer, _sqlite(asynchronous, begin="BEGIN", connections=4), clock)
    else:
        engine = create_async_engine(
            parsed, pool_size=10, max_overflow=10, pool_timeout=POOL_TIMEOUT, pool_pre_ping=True
        )
        store = Store(engine, engine, clock)
    try:
        async with store.read() as tx:
            await tx.execute(select(1))
    except (DBAPIError, OSError) as error:
        await store.close()
        raise unreachable(parsed, error) from error
    return store


async def migrate(url: str) -> None:
    """Bring the schema up to date; any number of processes may do so at once.

    Raises:
        StoreError: The database cannot be reached, or a newer Drumbeat has changed it.
    """
    parsed = database_url(url)
    try:
        await asyncio.to_thread(migrations.upgrade, parsed)
    except (DBAPIError, OSError) as error:
        raise unreachable(parsed, error) from error
    except migrations.TooNew as error:
        raise StoreError(str(error)) from error


def database_url(text: str) -> URL:
    """The URL with its synchronous driver filled in.

    Raises:
        StoreError: It names no database that Drumbeat works with.
    """
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except ArgumentError:
        backend = ""
    if backend == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        return url.set(drivername="sqlite")
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise StoreError(
        "DRUMBEAT_DATABASE_URL names no database that can be used: "
        "sqlite:///FILE or postgresql://USER@HOST/NAME is wanted"
    )


def unreachable(url: URL, error: Exception) -> DatabaseUnreachable:
    """One line on a database that does not answer; no password in it."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    said = " ".join(str(cause).split())
    return DatabaseUnreachable(f"the database {url.render_as_string()} cannot be used: {said}")


async def insert_new(tx: AsyncConnection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless one with the same key stands there; whether it was new."""
    dialect = sqlite if tx.dialect.name == "sqlite" else postgresql
    added = await tx.execute(dialect.insert(table).values(values).on_conflict_do_nothing())
    return added.rowcount == 1


def _sqlite(url: URL, *, begin: str, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        url, pool_size=connections, max_overflow=0, pool_timeout=POOL_TIMEOUT
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _: object) -> None:
        # Without this the driver begins transactions itself, too late and deferred.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT}",
            "journal_mode=WAL",
            "synchronous=FULL",  # a mark that is committed survives a power cut
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin_now(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine
