"""Who did what, when and why: rows that are only ever added (SPEC section 13)."""

from datetime import datetime

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.store.schema import audit


async def append(
    tx: AsyncConnection,
    *,
    who: str | None,
    action: str,
    target: str,
    why: str | None,
    now: datetime,
) -> None:
    """Note what somebody did.

    Args:
        tx: The transaction that does it.
        who: The rep's id; None: Drumbeat itself, the person, or whoever runs the machine.
        action: A slug of at most 32 characters, such as `hold` or `suppress_lift`.
        target: The id or slug of what it was done to; a longer one is cut to what the column holds.
        why: The reason as it was typed, if one was given.
        now: UTC.
    """
    await tx.execute(
        insert(audit).values(at=now, who=who, action=action, target=target[:100], why=why)
    )
