"""SQLite's driver, with one visit to the connection's own thread for each statement.

aiosqlite makes four: one each for the cursor, the statement, its rows and the cursor's end. Each
visit costs the event loop more than SQLite takes for a usual statement; a worker that sends emails
spends half of its time on them (docs/measured.md).
"""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

import aiosqlite
from sqlalchemy import URL
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite

Values = tuple[Any, ...]
"""As SQLite keeps them: of whatever type."""


class Cursor:
    """A statement and its rows; what SQLAlchemy asks of a cursor that is not streamed."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._rows: list[Values] = []
        self.description: Sequence[Any] | None = None
        """The rows' columns, as the DB-API has them; None: the statement gives no rows."""
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Self:
        """Execute a statement and fetch all its rows."""
        await self._connection.visit(lambda raw: self._keep(raw.execute(statement, parameters)))
        return self

    async def executemany(self, statement: str, many: Sequence[Sequence[Any]]) -> Self:
        """Execute a statement once for each set of parameters."""
        await self._connection.visit(lambda raw: self._keep(raw.executemany(statement, many)))
        return self

    async def fetchall(self) -> list[Values]:
        """The rows that were not fetched yet."""
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        """Forget the rows; SQLite's own cursor is closed already."""
        self._rows = []

    def _keep(self, cursor: sqlite3.Cursor) -> None:
        """Take all that a cursor has to give; runs in the connection's thread."""
        try:
            self.description = cursor.description
            self._rows = cursor.fetchall() if cursor.description else []
            self.rowcount, self.lastrowid = cursor.rowcount, cursor.lastrowid
        finally:
            cursor.close()


class Connection(aiosqlite.Connection):
    """A connection with such cursors; everything else is aiosqlite's."""

    def cursor(self) -> Cursor:  # type: ignore[override]  # SQLAlchemy enters it, nobody awaits it
        """A cursor, made without a visit to the thread."""
        return Cursor(self)

    async def visit(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Have something done in the connection's thread."""
        await self._execute(work, self._conn)  # type: ignore[no-untyped-call]  # aiosqlite's


def connecting(url: URL) -> Callable[[], Awaitable[Connection]]:
    """How SQLAlchemy opens a connection to the file (`async_creator` of `create_async_engine`)."""
    (path,), options = SQLiteDialect_aiosqlite().create_connect_args(url)

    async def connect() -> Connection:
        connection = Connection(lambda: sqlite3.connect(path, **options), iter_chunk_size=64)
        connection._thread.daemon = True  # as SQLAlchemy does: no exit waits for it
        await connection
        return connection

    return connect
