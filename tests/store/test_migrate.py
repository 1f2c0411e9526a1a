import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, inspect, select, text, update

from drumbeat.store import versions
from drumbeat.store.engine import (
    DatabaseTooNew,
    DatabaseTooOld,
    DatabaseUnreachable,
    StoreError,
    migrate,
    open_store,
)
from drumbeat.store.migrate import SCRIPTS
from drumbeat.store.schema import metadata, people
from tests.copying import FILLED
from tests.postgres import Cluster

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of this test's own, without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new.db'}"
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    return cluster.url(cluster.create_database("new"))


@pytest.fixture
async def migrated(new_url: str) -> AsyncIterator[str]:
    await migrate(new_url)
    yield new_url


async def on(url: str, look: Callable[[Connection], Any]) -> Any:
    store = await open_store(url)
    try:
        async with store.read() as tx:
            return await tx.run_sync(look)
    finally:
        await store.close()


async def change(url: str, statement: str) -> None:
    store = await open_store(url)
    async with store.write() as tx:
        await tx.execute(text(statement))
    await store.close()


COMPUTED = {("column", name) for name in FILLED}


async def test_what_the_database_fills_itself_follows_the_row(migrated: str) -> None:
    store = await open_store(migrated)
    values = {"id": "p1", "email": "ada@example.org", "revision": 1}
    fields = {"first_name": "Ada", "last_name": "Lovelace", "company": "x" * 5_000, "title": "Dr"}
    async with store.write() as tx:
        now = await store.now(tx)
        await tx.execute(insert(people).values(**values, fields={}, created_at=now, updated_at=now))
        found = await tx.execute(select(people.c.searchable))
        assert found.scalar_one() == "ada@example.org   "
        await tx.execute(update(people).values(fields=fields))
        found = await tx.execute(select(people.c.searchable))
        assert found.scalar_one() == f"ada@example.org ada lovelace {'x' * 5_000}"[:600]
    await store.close()


async def test_the_migrations_make_what_the_schema_declares(migrated: str) -> None:
    def differences(connection: Connection) -> list[Any]:
        options = {
            "compare_type": True,
            "compare_server_default": True,
            # Computed by each database in its own words, which Alembic cannot compare.
            "include_object": lambda _, name, kind, *__: (kind, name) not in COMPUTED,
        }
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, metadata))

    assert await on(migrated, differences) == []


async def test_partial_indexes_and_names_are_those_of_the_schema(migrated: str) -> None:
    # What `compare_metadata` does not look at.
    def look(connection: Connection) -> dict[str, Any]:
        seen = inspect(connection)
        return {
            table: (
                seen.get_pk_constraint(table)["name"],
                sorted(str(each["name"]) for each in seen.get_foreign_keys(table)),
                sorted(
                    (str(index["name"]), any("where" in option for option in index_options(index)))
                    for index in seen.get_indexes(table)
                    if not index.get("duplicates_constraint")
                ),
            )
            for table in metadata.tables
        }

    def index_options(index: Any) -> list[str]:
        return list(index.get("dialect_options", {}))

    found = await on(migrated, look)
    for name, table in metadata.tables.items():
        key, foreign, indexes = found[name]
        assert key == table.primary_key.name
        assert foreign == sorted(str(each.name) for each in table.foreign_key_constraints)
        assert indexes == sorted(
            (str(index.name), "where" in index.dialect_options["sqlite"]._non_defaults)
            for index in table.indexes
        )


def test_every_migration_is_known_to_versions_in_order() -> None:
    directory = ScriptDirectory(str(SCRIPTS))
    revisions = [script.revision for script in directory.walk_revisions()]
    assert tuple(reversed(revisions)) == versions.REVISIONS
    files = sorted(path.name for path in (SCRIPTS / "versions").glob("*.py"))
    assert [name.partition("_")[0] for name in files] == list(versions.REVISIONS)


async def test_migrating_again_changes_nothing(migrated: str) -> None:
    async def key() -> Any:
        return await on(migrated, lambda c: c.execute(text("SELECT value FROM keys")).scalar_one())

    before = await key()
    await migrate(migrated)
    assert await key() == before


async def test_the_key_of_ids_is_made_with_the_tables(migrated: str) -> None:
    rows = await on(migrated, lambda c: c.execute(text("SELECT name, value FROM keys")).all())
    assert [(name, len(value)) for name, value in rows] == [("people", 32)]


async def test_a_database_of_a_newer_version_is_refused_in_one_line(migrated: str) -> None:
    await change(migrated, "UPDATE alembic_version SET version_num = '9999'")
    for refused in (open_store(migrated), migrate(migrated)):
        with pytest.raises(DatabaseTooNew, match="belongs to a newer Drumbeat") as raised:
            await refused
        assert "\n" not in str(raised.value)
        assert "9999" in str(raised.value)


async def test_a_database_without_tables_is_refused_in_one_line(new_url: str) -> None:
    with pytest.raises(DatabaseTooOld, match="is not set up for this Drumbeat") as raised:
        await open_store(new_url)
    assert "\n" not in str(raised.value)


def migrating(url: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "drumbeat.store.migrate"],
        cwd=ROOT,
        env={**os.environ, "DRUMBEAT_DATABASE_URL": url, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_processes_that_migrate_at_once_do_not_disturb_each_other(new_url: str) -> None:
    running = [migrating(new_url) for _ in range(3)]
    ended = [(process.communicate(timeout=60), process.returncode) for process in running]
    assert ended == [(("", ""), 0)] * 3


async def test_the_command_refuses_a_newer_database_with_status_1(migrated: str) -> None:
    await change(migrated, "UPDATE alembic_version SET version_num = '9999'")
    process = migrating(migrated)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.count("\n") == 1
    assert "belongs to a newer Drumbeat" in err


async def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseUnreachable, match="cannot be reached") as raised:
        await migrate(f"sqlite:///{tmp_path / 'file' / 'drumbeat.db'}")
    assert "\n" not in str(raised.value)


async def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("This is no database. " * 100)
    url = f"sqlite:///{tmp_path / 'text.db'}"
    for refused in (open_store(url), migrate(url)):
        with pytest.raises(StoreError, match="is not a SQLite database"):
            await refused


async def test_a_server_that_does_not_answer_is_one_line() -> None:
    url = "postgresql://drum:secret@127.0.0.1:1/beat"
    for refused in (open_store(url), migrate(url)):
        with pytest.raises(DatabaseUnreachable, match=r"beat at 127\.0\.0\.1:1 cannot") as raised:
            await refused
        assert "\n" not in str(raised.value)
        assert "secret" not in str(raised.value)
