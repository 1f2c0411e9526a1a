"""Bring the database up to this version's tables: `python -m drumbeat.store.migrate`."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from drumbeat.settings import Settings
from drumbeat.store import versions
from drumbeat.store.engine import database_url, is_sqlite, refusal, set_pragmas, unreachable, where
from drumbeat.store.errors import StoreError

SCRIPTS = Path(__file__).parent / "migrations"
_LOCK = 7_246_118_301  # PostgreSQL's advisory locks are numbers; this one is ours alone
_one_at_a_time = threading.Lock()  # Alembic's `op` belongs to the process


def upgrade(url: URL) -> None:
    """Run the migrations that the database lacks, all in one transaction.

    Args:
        url: As `database_url` gives it.

    Raises:
        DatabaseTooNew: A newer Drumbeat has changed it.
        DatabaseUnreachable: It does not answer, or its folder cannot be written.
    """
    with _one_at_a_time, _alone(url) as connection:
        revision = versions.current(connection)
        versions.refuse_newer(revision, where(url))
        if revision != versions.REVISIONS[-1]:
            _run(connection)


def _run(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def _alone(url: URL) -> Iterator[Connection]:
    """A transaction in which no other process migrates."""
    engine = create_engine(
        url.set(drivername="sqlite") if is_sqlite(url) else url, poolclass=NullPool
    )
    if is_sqlite(url):
        try:
            Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unreachable(url, error) from error

        @event.listens_for(engine, "connect")
        def set_up(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
            connection.isolation_level = None
            set_pragmas(connection)
            # SQLite changes a table by replacing it, which must not delete what points to it.
            cursor = connection.cursor()
            cursor.execute("PRAGMA foreign_keys = OFF")
            cursor.close()

        @event.listens_for(engine, "begin")
        def start(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    try:
        connection = engine.connect()
        connection.begin()
    except DBAPIError as error:
        raise refusal(url, error) or unreachable(url, error) from error
    with connection:
        if not is_sqlite(url):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        yield connection
        if is_sqlite(url) and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
            raise StoreError(f"the {where(url)} has rows that point to nothing: not migrated")
        connection.commit()


def main() -> int:
    """Migrate the database that DRUMBEAT_DATABASE_URL names; 0, or 1 with one line."""
    try:
        upgrade(database_url(Settings().database))
    except StoreError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
