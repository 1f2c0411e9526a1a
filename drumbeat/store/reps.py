"""The copy of the reps file, to which the other tables point."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.reps import Reps
from drumbeat.store.engine import insert_new
from drumbeat.store.schema import reps as table


async def sync(tx: AsyncConnection, reps: Reps, now: datetime) -> None:
    """Bring the copy up to the file; who left the file stays in the copy.

    Args:
        tx: A write transaction.
        reps: The reps of the file, with ids by this database's key.
        now: UTC.
    """
    known = {row.id: row for row in await every(tx)}
    for rep in reps:
        opaque = reps.id_of(rep)
        values = {"email": rep.email, "name": rep.name, "timezone": rep.timezone}
        row = known.get(opaque)
        if row is None:
            await insert_new(tx, table, {"id": opaque, **values, "updated_at": now})
        elif (row.email, row.name, row.timezone) != tuple(values.values()):
            changed = update(table).where(table.c.id == opaque)
            await tx.execute(changed.values(**values, updated_at=now))


async def find(tx: AsyncConnection, rep_id: str) -> Row[Any] | None:
    """A rep's row by its id."""
    return (await tx.execute(select(table).where(table.c.id == rep_id))).one_or_none()


async def every(tx: AsyncConnection) -> Sequence[Row[Any]]:
    """All reps that the database has ever known, by address."""
    return (await tx.execute(select(table).order_by(table.c.email))).all()
