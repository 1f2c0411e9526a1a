"""A database that was restored from a backup is older than the workflows: then all mailboxes wait.

What the workflows know and the tables have lost (emails that were sent, people who unsubscribed)
comes back by `check`; until it has found nothing any more, nothing leaves.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign.states import HoldKind, MessageState, TaskStatus
from drumbeat.store import holds, outbox
from drumbeat.store.schema import holds as hold_rows
from drumbeat.store.schema import messages, reps, tasks

REASON = "the database is older than the workflows: run `starter.py check`"
"""The reason of such holds, by which `check` finds them."""


async def is_behind(tx: AsyncConnection, enrollment_id: str, step: int | None) -> bool:
    """Whether the tables know nothing of a step's end, though the workflow has gone past it.

    Args:
        tx: A transaction in which all has been applied that the workflow had to tell.
        enrollment_id: The enrollment's.
        step: Where its workflow stands.
    """
    if step is None:
        return False
    waiting = select(messages.c.step).where(
        messages.c.enrollment_id == enrollment_id,
        messages.c.step < step,
        messages.c.state.in_((MessageState.SCHEDULED, MessageState.SENDING)),
    )
    still_open = select(tasks.c.step).where(
        tasks.c.enrollment_id == enrollment_id,
        tasks.c.step < step,
        tasks.c.status.in_((TaskStatus.OPEN, TaskStatus.SCHEDULED)),
    )
    return (await tx.execute(waiting.union_all(still_open).limit(1))).first() is not None


async def hold_all(tx: AsyncConnection, now: datetime) -> int:
    """Hold every mailbox that is not held for this reason yet; how many."""
    held = {row.target for row in await held_by_it(tx, now)}
    # In the same order for everybody.
    known = (await tx.execute(select(reps.c.id).order_by(reps.c.id))).scalars().all()
    fresh = [rep_id for rep_id in known if rep_id not in held]
    for rep_id in fresh:
        hold_id = f"h{secrets.token_hex(8)}"
        await holds.insert(
            tx,
            hold_id=hold_id,
            kind=HoldKind.MAILBOX,
            target=rep_id,
            until=None,
            reason=REASON,
            who=None,
            now=now,
        )
        await outbox.put_for_running(
            tx,
            holds.held_by(HoldKind.MAILBOX, rep_id),
            kind="hold",
            key=f"hold/{hold_id}",
            payload={"hold_id": hold_id, "kind": HoldKind.MAILBOX},
            now=now,
        )
    return len(fresh)


async def held_by_it(tx: AsyncConnection, now: datetime) -> Sequence[Row[Any]]:
    """The holds that are set for this reason."""
    wanted = select(hold_rows).where(
        holds.is_set(now), hold_rows.c.kind == HoldKind.MAILBOX, hold_rows.c.reason == REASON
    )
    return (await tx.execute(wanted.order_by(hold_rows.c.target))).all()


async def release_all(tx: AsyncConnection, who: str | None, now: datetime) -> Sequence[str]:
    """Lift these holds; the keys under which the workflows are told."""
    keys = []
    for hold in await held_by_it(tx, now):
        await holds.mark_released(tx, hold.id, who, now)
        keys.append(f"release/{hold.id}")
        await outbox.put_for_running(
            tx,
            holds.held_by(HoldKind.MAILBOX, hold.target),
            kind="release",
            key=keys[-1],
            payload={"hold_id": hold.id, "who": who},
            now=now,
        )
    return keys
