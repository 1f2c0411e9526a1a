"""The schema's history, one Alembic revision a change; none is edited after a release."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL

_LOCK = 0x6472756D62656174
"""The advisory lock that one process at a time migrates under: "drumbeat" in ASCII."""


class TooNew(Exception):
    """A newer version of Drumbeat has changed the database; the text says so in one line."""


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration: no file of its own is needed."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(url: URL) -> None:
    """Bring the schema up to date, alone: other processes wait and then find it done.

    Raises:
        TooNew: The database has a revision that this version does not know.
    """
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            # SQLite's lock is the transaction itself, PostgreSQL's is the session's.
            is_sqlite = engine.dialect.name == "sqlite"
            if is_sqlite:
                connection.execute(text("PRAGMA busy_timeout=60000"))
                connection.execute(text("PRAGMA journal_mode=WAL"))
                connection.execute(text("BEGIN IMMEDIATE"))
            else:
                connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
                connection.execute(text("BEGIN"))
            try:
                _upgrade(connection)
            except BaseException:
                connection.execute(text("ROLLBACK"))
                raise
            connection.execute(text("COMMIT"))
    finally:
        engine.dispose()


def is_current(connection: Connection) -> bool:
    """Whether the database has the newest revision that this version knows.

    Raises:
        TooNew: It has one that this version does not know.
    """
    config = configuration(connection)
    scripts = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise TooNew(
            f"the database is from a newer version of Drumbeat (schema {current}): "
            f"this one knows the schema up to {scripts.get_current_head()}"
        )
    return current == scripts.get_current_head()


def _upgrade(connection: Connection) -> None:
    if not is_current(connection):
        command.upgrade(configuration(connection), "head")
