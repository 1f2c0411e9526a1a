from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from drumbeat.store.driver import Connection
from drumbeat.store.engine import Store
from drumbeat.store.schema import texts

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with every visit to a connection's thread."""
    found: list[str] = []
    execute: Any = Connection._execute  # aiosqlite's, untyped

    async def counted(self: Connection, *arguments: object, **options: object) -> object:
        found.append(str(arguments[0]))
        return await execute(self, *arguments, **options)

    monkeypatch.setattr(Connection, "_execute", counted)
    return found


async def test_a_statement_costs_one_visit_to_the_connections_thread(
    sqlite_store: Store, visits: list[str]
) -> None:
    async with sqlite_store.write() as tx:
        before = len(visits)
        await tx.execute(insert(texts).values(id="x1", text="one", at=NOW))
        assert len(visits) == before + 1
        assert (await tx.execute(select(texts.c.text))).scalars().all() == ["one"]
        assert len(visits) == before + 2


async def test_many_rows_are_written_and_read_in_one_visit_each(
    sqlite_store: Store, visits: list[str]
) -> None:
    rows = [{"id": f"x{number}", "text": str(number), "at": NOW} for number in range(50)]
    async with sqlite_store.write() as tx:
        before = len(visits)
        await tx.execute(insert(texts), rows)
        found = await tx.execute(select(texts.c.id).order_by(texts.c.id))
        assert len(found.all()) == 50
        assert len(visits) == before + 2


async def test_a_change_says_how_many_rows_it_met(sqlite_store: Store) -> None:
    async with sqlite_store.write() as tx:
        await tx.execute(insert(texts).values(id="x1", text="one", at=NOW))
        changed = await tx.execute(text("UPDATE texts SET text = 'two' WHERE id IN ('x1', 'x2')"))
        assert changed.rowcount == 1


async def test_an_error_of_sqlite_is_the_one_that_sqlalchemy_knows(sqlite_store: Store) -> None:
    with pytest.raises(IntegrityError):
        async with sqlite_store.write() as tx:
            for _ in range(2):
                await tx.execute(insert(texts).values(id="x1", text="one", at=NOW))
    async with sqlite_store.read() as tx:
        assert (await tx.execute(select(texts.c.id))).all() == []
