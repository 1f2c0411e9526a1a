"""What happened: the timelines of people, and the Live Feed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.store.engine import insert_new
from drumbeat.store.schema import events


async def append(
    tx: AsyncConnection,
    *,
    enrollment_id: str | None,
    key: str,
    person_id: str,
    campaign: str | None,
    at: datetime,
    what: str,
    step: int | None = None,
    who: str | None = None,
    detail: Mapping[str, str] | None = None,
) -> bool:
    """Append an event unless one with its key is there already; whether it was new."""
    values = {
        "enrollment_id": enrollment_id,
        "key": key,
        "person_id": person_id,
        "campaign": campaign,
        "at": at,
        "what": what,
        "step": step,
        "who": who,
        "detail": dict(detail or {}),
    }
    return await insert_new(tx, events, values)


async def of_enrollment(tx: AsyncConnection, enrollment_id: str) -> Sequence[Row[Any]]:
    """An enrollment's timeline, oldest first."""
    wanted = select(events).where(events.c.enrollment_id == enrollment_id)
    return (await tx.execute(wanted.order_by(events.c.at, events.c.id))).all()
