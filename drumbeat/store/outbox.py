"""What workflows must be told: noted with what it follows from, delivered until confirmed."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, exists, func, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.store.engine import insert_new
from drumbeat.store.schema import Moment, enrollments, outbox

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(minutes=5)


async def put(
    tx: AsyncConnection,
    enrollment_id: str,
    *,
    kind: str,
    key: str,
    payload: Mapping[str, Any],
    now: datetime,
    not_before: datetime | None = None,
) -> bool:
    """Note one message for one enrollment's workflow; False where its key is there already."""
    values = {
        "key": key,
        "enrollment_id": enrollment_id,
        "kind": kind,
        "payload": {**payload, "enrollment_id": enrollment_id},
        "not_before": not_before or now,
    }
    return await insert_new(tx, outbox, values)


async def put_for_running(
    tx: AsyncConnection,
    which: ColumnElement[bool],
    *,
    kind: str,
    key: str,
    payload: Mapping[str, Any],
    now: datetime,
) -> int:
    """Note one message for every running enrollment that `which` selects; how many there are.

    The enrollment's id is added to the payload at delivery; `key` is made unique by it.
    """
    dialect = sqlite if tx.dialect.name == "sqlite" else postgresql
    rows = select(
        literal(f"{key}/") + enrollments.c.id,
        enrollments.c.id,
        literal(kind),
        literal(dict(payload), outbox.c.payload.type),
        literal(now, Moment()),
    ).where(which, enrollments.c.ended_at.is_(None))
    columns = ["key", "enrollment_id", "kind", "payload", "not_before"]
    statement = dialect.insert(outbox).from_select(columns, rows).on_conflict_do_nothing()
    # Without the option SQLAlchemy keeps no count of an INSERT on PostgreSQL.
    return (await tx.execute(statement.execution_options(preserve_rowcount=True))).rowcount


async def has_waiting(tx: AsyncConnection, now: datetime) -> bool:
    """Whether anything is to be delivered now; locks nothing, so that a reader may ask."""
    wanted = select(outbox.c.id).where(outbox.c.delivered_at.is_(None), outbox.c.not_before <= now)
    return (await tx.execute(wanted.limit(1))).first() is not None


async def waiting(tx: AsyncConnection, now: datetime, limit: int) -> Sequence[Row[Any]]:
    """What is to be delivered now, oldest first, with each enrollment's workflow id and start."""
    wanted = (
        select(outbox, enrollments.c.workflow_id, enrollments.c.started_at)
        .join(enrollments, enrollments.c.id == outbox.c.enrollment_id)
        .where(outbox.c.delivered_at.is_(None), outbox.c.not_before <= now)
        .order_by(outbox.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=outbox)
    )
    return (await tx.execute(wanted)).all()


async def claim(tx: AsyncConnection, ids: Sequence[int], until: datetime) -> None:
    """Keep other workers away from rows until a moment; each is counted as a try."""
    await tx.execute(
        update(outbox)
        .where(outbox.c.id.in_(ids))
        .values(not_before=until, tries=outbox.c.tries + 1)
    )


async def done(tx: AsyncConnection, row_id: int, now: datetime, answer: str) -> None:
    """A message is confirmed, or nobody will ever take it; the answer says which."""
    await tx.execute(
        update(outbox).where(outbox.c.id == row_id).values(delivered_at=now, answer=answer)
    )


async def postpone(tx: AsyncConnection, row: Row[Any], now: datetime, answer: str) -> None:
    """A message could not be delivered: again after a pause that grows."""
    pause = min(FIRST_PAUSE * 2 ** min(row.tries, 10), LONGEST_PAUSE)
    await tx.execute(
        update(outbox)
        .where(outbox.c.id == row.id, outbox.c.delivered_at.is_(None))
        .values(not_before=now + pause, answer=answer)
    )


async def count_waiting(tx: AsyncConnection, key: str) -> int:
    """How many messages whose key begins so are not confirmed yet."""
    wanted = select(func.count()).where(
        outbox.c.key.startswith(key, autoescape=True), outbox.c.delivered_at.is_(None)
    )
    return (await tx.execute(wanted)).scalar_one()


def never_told(kind: str) -> ColumnElement[bool]:
    """Which enrollments have no message of a kind, delivered or not.

    What ends an enrollment is told once: a second message would only be noise in its timeline.
    """
    told = exists().where(outbox.c.enrollment_id == enrollments.c.id, outbox.c.kind == kind)
    return ~told
