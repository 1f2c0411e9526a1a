"""Addresses and domains that get no email, whatever the campaign."""

import secrets
from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from sqlalchemy import Row, and_, bindparam, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.store.engine import insert_new
from drumbeat.store.schema import suppressions

Kind = Literal["address", "domain"]


class Source(StrEnum):
    """Why an address or a domain gets no email."""

    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"
    MANUAL = "manual"
    SALESFORCE = "salesforce"


# Made once, as it is asked before every send: see docs/measured.md.
_AGAINST_ONE = (
    select(suppressions)
    .where(
        suppressions.c.lifted_at.is_(None),
        or_(
            and_(suppressions.c.kind == "address", suppressions.c.value == bindparam("address")),
            and_(suppressions.c.kind == "domain", suppressions.c.value == bindparam("domain")),
        ),
    )
    .order_by(suppressions.c.kind, suppressions.c.at)
)


async def add(
    tx: AsyncConnection,
    *,
    kind: Kind,
    value: str,
    source: str,
    reason: str | None,
    who: str | None,
    now: datetime,
) -> str | None:
    """Suppress an address or a domain, both normalised.

    Args:
        tx: A write transaction.
        kind: What `value` is.
        value: In lower case, a domain in ASCII.
        source: `unsubscribed`, `bounced`, `manual` or `salesforce`.
        reason: Why, as it was typed.
        who: The rep's id; None: the person, or Drumbeat itself.
        now: UTC.

    Returns:
        The new suppression's id; None where it is suppressed already, whatever the source.
    """
    suppression_id = f"s{secrets.token_hex(8)}"
    values = {
        "id": suppression_id,
        "kind": kind,
        "value": value,
        "source": source,
        "reason": reason,
        "who": who,
        "at": now,
    }
    return suppression_id if await insert_new(tx, suppressions, values) else None


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
    asked = {"address": address, "domain": address.rpartition("@")[2]}
    return (await tx.execute(_AGAINST_ONE, asked)).first()


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


async def against(tx: AsyncConnection, addresses: Collection[str]) -> dict[str, Row[Any]]:
    """What keeps email from some hundreds of addresses: those that something does, and what."""
    domains = {address.rpartition("@")[2] for address in addresses}
    wanted = select(suppressions).where(
        suppressions.c.lifted_at.is_(None),
        or_(
            and_(suppressions.c.kind == "address", suppressions.c.value.in_(addresses)),
            and_(suppressions.c.kind == "domain", suppressions.c.value.in_(domains)),
        ),
    )
    standing = {(row.kind, row.value): row for row in await tx.execute(wanted)}
    found = {}
    for address in addresses:
        row = standing.get(("address", address)) or standing.get(
            ("domain", address.rpartition("@")[2])
        )
        if row is not None:
            found[address] = row
    return found


async def add_wish(
    tx: AsyncConnection, address: str, reason: str | None, who: str | None, now: datetime
) -> str | None:
    """Suppress the address of somebody who unsubscribes; its id, None where it is a wish already.

    A suppression from another source gives way: lifting that one must not undo the wish.
    """
    given: dict[str, Any] = {
        "kind": "address",
        "value": address,
        "source": Source.UNSUBSCRIBED,
        "reason": reason,
        "who": who,
        "now": now,
    }
    # First of all, so that of two who suppress it at once the second sees what the first has done.
    suppression_id = await add(tx, **given)
    if suppression_id is not None:
        return suppression_id
    stands = await find(tx, "address", address)
    if stands is not None and stands.source == Source.UNSUBSCRIBED:
        return None
    why = "the person unsubscribed, which stands in its place"
    await lift(tx, "address", address, who=None, why=why, now=now)
    return await add(tx, **given)
