"""Transactions on the database: SQLite in a file, or PostgreSQL.

On SQLite one transaction at a time writes. It takes the lock at its beginning (`BEGIN IMMEDIATE`),
so that none fails half-way because another has written meanwhile. The tasks of one process queue
for their turn in order; another process's turn is waited for by SQLite itself.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import URL, Table, event, func, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.dml import ReturningInsert

from drumbeat.store import driver, versions
from drumbeat.store.errors import (
    DatabaseTooNew,
    DatabaseTooOld,
    DatabaseUnreachable,
    StoreError,
)

__all__ = [
    "Clock",
    "DatabaseTooNew",
    "DatabaseTooOld",
    "DatabaseUnreachable",
    "Store",
    "StoreError",
    "database_url",
    "insert_new",
    "inserting",
    "migrate",
    "open_store",
]

Clock = Callable[[], datetime]
"""Gives an aware datetime."""

BUSY_TIMEOUT = 60_000
"""Milliseconds that SQLite waits for another process's transaction: they are short."""
READERS = 5
READ_CACHE = 65_536
"""KiB that each of SQLite's readers may keep: a list that looks at everybody reads from memory."""
POSTGRES_CONNECTIONS = 10


class Store:
    """The database of one process. Made by `open_store`."""

    def __init__(self, url: URL, clock: Clock | None = None) -> None:
        self._url = url
        self._clock = clock
        self._turn: AbstractAsyncContextManager[None]
        if is_sqlite(url):
            self._turn = asyncio.Lock()
            self._writer = _sqlite_engine(url, "BEGIN IMMEDIATE", connections=1)
            self._reader = _sqlite_engine(url, "BEGIN", connections=READERS)
        else:
            self._turn = nullcontext()
            self._writer = _postgres_engine(url)
            # The same snapshot for every query of a transaction, as on SQLite.
            self._reader = self._writer.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write: committed at the end of the block, or undone by an error.

        Never wait for anything but the database inside.

        Raises:
            StoreError: The database cannot be reached, or cannot take it.
        """
        async with self._turn, _transaction(self._writer) as tx:
            yield tx

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state of the database and cannot change it.

        Raises:
            StoreError: The database cannot be reached.
        """
        async with _transaction(self._reader) as tx:
            yield tx

    async def now(self, tx: AsyncConnection) -> datetime:
        """This moment, UTC: by the server's clock on PostgreSQL, on SQLite by the machine's."""
        if self._clock is not None:
            return self._clock().astimezone(UTC)
        if is_sqlite(self._url):
            return datetime.now(UTC)
        # Not now(), which is the start of the transaction: it may have waited for a lock since.
        moment: datetime = (await tx.execute(select(func.clock_timestamp()))).scalar_one()
        return moment.astimezone(UTC)

    async def close(self) -> None:
        """Give all connections back."""
        await self._writer.dispose()
        await self._reader.dispose()


async def open_store(url: str, clock: Clock | None = None) -> Store:
    """Open a database that has been migrated.

    Args:
        url: `sqlite:///PATH` or `postgresql://…`, also with the names of their drivers.
        clock: What `Store.now` asks instead of the database's own clock.

    Raises:
        DatabaseUnreachable: It does not answer, or the file is not there.
        DatabaseTooNew: A newer Drumbeat has changed it.
        DatabaseTooOld: It is empty, or lacks a migration.
        StoreError: The URL cannot be used.
    """
    address = database_url(url)
    if is_sqlite(address) and not os.path.exists(str(address.database)):  # noqa: ASYNC240 (quick)
        # SQLite would make an empty file.
        raise DatabaseTooOld(versions.too_old(where(address)))
    store = Store(address, clock)
    try:
        async with store.read() as tx:
            found = await tx.run_sync(versions.current)
        versions.check(found, where(address))
    except BaseException:
        await store.close()
        raise
    return store


async def migrate(url: str) -> None:
    """Bring a database up to this version's tables; an empty one gets them all.

    Several processes may do so at once: one works, the others find it done.

    Raises:
        StoreError: As `open_store`, but for DatabaseTooOld.
    """
    from drumbeat.store.migrate import upgrade  # Alembic costs 0.2 s: only who migrates pays

    address = database_url(url)
    await asyncio.to_thread(upgrade, address)


def database_url(url: str) -> URL:
    """The database's URL with the drivers that Drumbeat uses.

    Raises:
        StoreError: It names another kind of database, or cannot be read.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreError(
            "DRUMBEAT_DATABASE_URL cannot be read: it must look like sqlite:///PATH or "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from None
    if parsed.drivername in ("sqlite", "sqlite+aiosqlite"):
        if parsed.database in (None, "", ":memory:"):
            raise StoreError("DRUMBEAT_DATABASE_URL names no file: write sqlite:///PATH")
        return parsed.set(drivername="sqlite+aiosqlite")
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise StoreError(
        f"DRUMBEAT_DATABASE_URL begins with {parsed.drivername}://, which Drumbeat does not know: "
        "use sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
    )


def is_sqlite(url: URL) -> bool:
    """Whether the database is a file."""
    return url.get_backend_name() == "sqlite"


def where(url: URL) -> str:
    """The database as an error names it: without user and password.

    >>> where(make_url("postgresql://drum:secret@db.example:5432/beat"))
    'database beat at db.example:5432'
    """
    if is_sqlite(url):
        return f"database {url.database}"
    at = f"{url.host or 'the local socket'}{f':{url.port}' if url.port else ''}"
    return f"database {url.database or 'without a name'} at {at}"


def unreachable(url: URL, error: BaseException) -> DatabaseUnreachable:
    """The one line for a database to which no connection can be made."""
    reason = str(getattr(error, "orig", None) or error).strip()
    # psycopg's words go over several lines; none of them repeats the password.
    reason = reason.splitlines()[0] if reason else type(error).__name__
    return DatabaseUnreachable(
        f"the {where(url)} cannot be reached ({reason}): check DRUMBEAT_DATABASE_URL"
    )


def inserting(tx: AsyncConnection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that knows `ON CONFLICT`, which each database spells in its own module."""
    if tx.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


async def insert_new(tx: AsyncConnection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless one with the same key is there.

    Returns:
        Whether the row is new.
    """
    statement = _inserting_new(tx.dialect.name, table)
    # `rowcount` of an INSERT is not kept by every driver; what it returns is.
    return (await tx.execute(statement, dict(values))).first() is not None


@cache
def _inserting_new(dialect: str, table: Table) -> ReturningInsert[Any]:
    """Made once: SQLAlchemy takes longer to make a statement than SQLite to carry it out."""
    insert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    return insert.on_conflict_do_nothing().returning(*table.primary_key)


@asynccontextmanager
async def _transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    try:
        tx = await engine.connect()
    except (DBAPIError, OSError) as error:
        raise refusal(engine.url, error) or unreachable(engine.url, error) from error
    try:
        await tx.begin()
        yield tx
        await tx.commit()
    except DBAPIError as error:
        refused = refusal(engine.url, error)
        if refused is None:
            raise
        raise refused from error
    finally:
        # What was not committed is undone. Shielded: a cancelled task gives its connection back.
        await asyncio.shield(tx.close())


def refusal(url: URL, error: BaseException) -> StoreError | None:
    """The line for what the database cannot do now; None: the statement itself was wrong."""
    if not isinstance(error, DBAPIError):
        return None
    if error.connection_invalidated:
        return unreachable(url, error)
    if is_sqlite(url):
        code = getattr(error.orig, "sqlite_errorname", "")
        for name, advice in _SQLITE_REFUSALS.items():
            if code.startswith(name):
                return StoreError(f"the {where(url)} {advice}")
    return None


_SQLITE_REFUSALS = {
    "SQLITE_BUSY": "is locked by another program for a minute: end it",
    "SQLITE_FULL": "cannot grow: the disk is full",
    "SQLITE_READONLY": "cannot be written: check the file's permissions and its folder's",
    "SQLITE_CORRUPT": "is damaged: restore it from a backup",
    "SQLITE_NOTADB": "is not a SQLite database: check DRUMBEAT_DATABASE_URL",
    "SQLITE_IOERR": "cannot be read or written: check the disk",
    "SQLITE_CANTOPEN": "cannot be opened: check the folder and its permissions",
}


def _sqlite_engine(url: URL, begin: str, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        url,
        async_creator=driver.connecting(url),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=120,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the driver begins no transaction by itself
        set_pragmas(connection)
        if begin == "BEGIN":
            cursor = connection.cursor()
            cursor.execute("PRAGMA query_only = ON")
            cursor.execute(f"PRAGMA cache_size = {-READ_CACHE}")
            cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def set_pragmas(connection: DBAPIConnection) -> None:
    """Prepare a connection to SQLite: readers never wait, what is committed is on the disk."""
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _postgres_engine(url: URL) -> AsyncEngine:
    return create_async_engine(
        url,
        pool_size=POSTGRES_CONNECTIONS,
        max_overflow=POSTGRES_CONNECTIONS,
        pool_pre_ping=True,  # a server that was restarted costs nobody an error
        connect_args={"connect_timeout": 10, "application_name": "drumbeat"},
    )
