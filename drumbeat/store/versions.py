"""Which migrations a database has had, and whether this Drumbeat can use it."""

from sqlalchemy import Connection, inspect, text

from drumbeat.store.errors import DatabaseTooNew, DatabaseTooOld

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011")
"""Every migration in `migrations/versions`, oldest first; a test compares."""
VERSION_TABLE = "alembic_version"


def current(connection: Connection) -> str | None:
    """The last migration that the database has had; None: none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}"))
    revision: str | None = found.scalar_one_or_none()
    return revision


def check(revision: str | None, database: str) -> None:
    """Refuse a database that is newer or older than this Drumbeat.

    Raises:
        DatabaseTooNew: It has had a migration that this version does not know.
        DatabaseTooOld: It lacks one.
    """
    refuse_newer(revision, database)
    if revision != REVISIONS[-1]:
        raise DatabaseTooOld(too_old(database))


def refuse_newer(revision: str | None, database: str) -> None:
    """Refuse a database that a newer Drumbeat has changed.

    Raises:
        DatabaseTooNew: It has had a migration that this version does not know.
    """
    if revision is not None and revision not in REVISIONS:
        raise DatabaseTooNew(
            f"the {database} belongs to a newer Drumbeat (migration {revision}; this one knows "
            f"{REVISIONS[-1]}): update Drumbeat, or use another database"
        )


def too_old(database: str) -> str:
    """The line for a database that lacks tables."""
    return (
        f"the {database} is not set up for this Drumbeat: start `starter.py up`, "
        "or run `python -m drumbeat.store.migrate`"
    )
