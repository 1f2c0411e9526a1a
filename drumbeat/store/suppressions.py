"""Addresses and domains that get no email, whatever the campaign."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Row, and_, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.store.schema import suppressions

Kind = Literal["address", "domain"]


async def add(
    tx: AsyncConnection,
    *,
    kind: Kind,
    value: str,
    source: str,
    reason: str | None,
    who: str | None,
    now: datetime,
) -> bool:
    """Suppress an address or a domain, both normalised; False where it is already."""
    if await find(tx, kind, value) is not None:
        return False
    await tx.execute(
        insert(suppressions).values(
            id=f"s{secrets.token_hex(8)}",
            kind=kind,
            value=value,
            source=source,
            reason=reason,
            who=who,
            at=now,
        )
    )
    return True


async def find(tx: AsyncConnection, kind: Kind, value: str) -> Row[Any] | None:
    """The suppression of an address or a domain, if it stands."""
    wanted = select(suppressions).where(
        suppressions.c.kind == kind,
        suppressions.c.value == value,
        suppressions.c.lifted_at.is_(None),
    )
    return (await tx.execute(wanted)).first()


async def is_suppressed(tx: AsyncConnection, address: str) -> Row[Any] | None:
    """What keeps email from an address: its own suppression, or that of its domain."""
    domain = address.rpartition("@")[2]
    wanted = select(suppressions).where(
        suppressions.c.lifted_at.is_(None),
        or_(
            and_(suppressions.c.kind == "address", suppressions.c.value == address),
            and_(suppressions.c.kind == "domain", suppressions.c.value == domain),
        ),
    )
    return (await tx.execute(wanted.order_by(suppressions.c.kind, suppressions.c.at))).first()


async def lift(
    tx: AsyncConnection, kind: Kind, value: str, *, who: str | None, why: str, now: datetime
) -> bool:
    """Let email go there again; False where nothing stood against it."""
    done = await tx.execute(
        update(suppressions)
        .where(
            suppressions.c.kind == kind,
            suppressions.c.value == value,
            suppressions.c.lifted_at.is_(None),
        )
        .values(lifted_at=now, lifted_by=who, lifted_why=why)
    )
    return done.rowcount > 0


async def every(tx: AsyncConnection, kind: Kind) -> Sequence[Row[Any]]:
    """All that stand, oldest first."""
    wanted = select(suppressions).where(
        suppressions.c.kind == kind, suppressions.c.lifted_at.is_(None)
    )
    return (await tx.execute(wanted.order_by(suppressions.c.at))).all()
