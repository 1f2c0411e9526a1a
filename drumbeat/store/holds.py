"""Holds: rows that every send and every opening of a task reads, so that they act at once."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Row, and_, bindparam, case, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign.states import HoldKind
from drumbeat.store.engine import insert_new
from drumbeat.store.schema import enrollments, holds

_ORDER = case({kind: number for number, kind in enumerate(HoldKind)}, value=holds.c.kind)


async def insert(
    tx: AsyncConnection,
    *,
    hold_id: str,
    kind: HoldKind,
    target: str,
    until: datetime | None,
    reason: str | None,
    who: str | None,
    now: datetime,
) -> bool:
    """Set a hold unless one with its id was set before; whether it was new."""
    values = {
        "id": hold_id,
        "kind": kind,
        "target": target,
        "until": until,
        "reason": reason,
        "who": who,
        "set_at": now,
    }
    return await insert_new(tx, holds, values)


async def find(tx: AsyncConnection, hold_id: str) -> Row[Any] | None:
    """A hold by its id, released or not."""
    return (await tx.execute(select(holds).where(holds.c.id == hold_id))).one_or_none()


async def mark_released(tx: AsyncConnection, hold_id: str, who: str | None, now: datetime) -> bool:
    """Lift a hold; whether it was set until now."""
    done = await tx.execute(
        update(holds)
        .where(holds.c.id == hold_id, holds.c.released_at.is_(None))
        .values(released_at=now, released_by=who)
    )
    return done.rowcount == 1


async def active(tx: AsyncConnection, enrollment: Row[Any], now: datetime) -> Sequence[Row[Any]]:
    """The holds that an enrollment stands under: person, campaign, rep, mailbox, out of office."""
    asked = {
        "now": now,
        "person": enrollment.person_id,
        "enrollment": enrollment.id,
        "campaign": enrollment.campaign,
        "rep": enrollment.rep_id,
    }
    return (await tx.execute(_ACTIVE, asked)).all()


async def active_of(
    tx: AsyncConnection, rows: Sequence[Row[Any]], now: datetime
) -> dict[str, list[Row[Any]]]:
    """As `active`, of several enrollments in one statement: id -> its holds."""
    if not rows:
        return {}
    targets = {row.id: _targets(row) for row in rows}
    every = {target for each in targets.values() for _, target in each}
    wanted = select(holds).where(
        is_set(now), holds.c.kind.in_(list(HoldKind)), holds.c.target.in_(every)
    )
    found = (await tx.execute(wanted.order_by(_ORDER, holds.c.set_at))).all()
    return {
        one: [hold for hold in found if (HoldKind(hold.kind), hold.target) in of_it]
        for one, of_it in targets.items()
    }


def _targets(row: Row[Any]) -> set[tuple[HoldKind, str]]:
    people = (HoldKind.PERSON, HoldKind.OUT_OF_OFFICE)
    return {
        *((kind, target) for kind in people for target in (row.person_id, row.id)),
        (HoldKind.CAMPAIGN, row.campaign),
        *((kind, row.rep_id) for kind in (HoldKind.REP, HoldKind.MAILBOX)),
    }


async def of_target(
    tx: AsyncConnection, kind: HoldKind, target: str, now: datetime
) -> Sequence[Row[Any]]:
    """The holds of a kind that are set on one thing."""
    wanted = select(holds).where(is_set(now), holds.c.kind == kind, holds.c.target == target)
    return (await tx.execute(wanted.order_by(holds.c.set_at))).all()


def is_set(now: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """Whether a hold's row holds now."""
    return and_(holds.c.released_at.is_(None), or_(holds.c.until.is_(None), holds.c.until > now))


def held_by(kind: HoldKind, target: str) -> ColumnElement[bool]:
    """Which enrollments a hold of that kind on that target holds."""
    match kind:
        case HoldKind.PERSON | HoldKind.OUT_OF_OFFICE:
            return or_(enrollments.c.person_id == target, enrollments.c.id == target)
        case HoldKind.CAMPAIGN:
            return enrollments.c.campaign == target
        case HoldKind.REP | HoldKind.MAILBOX:
            return enrollments.c.rep_id == target


# Made once, as it is asked before every send: see docs/measured.md.
_ACTIVE = (
    select(holds)
    .where(
        is_set(bindparam("now", type_=holds.c.until.type)),
        or_(
            and_(
                holds.c.kind.in_((HoldKind.PERSON, HoldKind.OUT_OF_OFFICE)),
                or_(
                    holds.c.target == bindparam("person"),
                    holds.c.target == bindparam("enrollment"),
                ),
            ),
            and_(holds.c.kind == HoldKind.CAMPAIGN, holds.c.target == bindparam("campaign")),
            and_(
                holds.c.kind.in_((HoldKind.REP, HoldKind.MAILBOX)),
                holds.c.target == bindparam("rep"),
            ),
        ),
    )
    .order_by(_ORDER, holds.c.set_at)
)
