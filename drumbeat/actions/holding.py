"""Hold people, campaigns, reps and mailboxes, and release them (SPEC section 6, "Holds").

A hold is a row that every send and every opening of a task reads, so that it acts at once; the
workflows are told through the outbox.
"""

import secrets
from collections.abc import Iterable
from datetime import datetime

from drumbeat.actions.desk import Desk, keep_text
from drumbeat.actions.errors import ActionError
from drumbeat.actions.telling import Told
from drumbeat.campaign.states import HoldKind
from drumbeat.store import audit, holds, mailboxes, outbox


async def hold(
    desk: Desk,
    kind: HoldKind,
    target: str,
    *,
    until: datetime | None = None,
    reason: str | None = None,
    default_who: str | None = None,
) -> Told:
    """Set a hold; nothing opens or leaves under it from now on.

    Args:
        desk: From where it is done.
        kind: What it hangs on.
        target: A person's or an enrollment's id, a campaign's slug, or a rep's id.
        until: When it ends by itself, UTC; None: when somebody releases it.
        reason: Why, in the words of who acts.
        default_who: The rep's id who acts where the desk names nobody.

    Raises:
        ActionError: The moment has passed, or nobody has the acting address.
    """
    async with desk.store.write() as tx:
        now = await desk.store.now(tx)
        if until is not None and until <= now:
            raise ActionError("the moment at which the hold is to end has passed already")
        who = await desk.who(tx, default_who)
        reason = reason.strip() or None if reason is not None else None
        reason_id = await keep_text(tx, reason, who, now)
        hold_id = f"h{secrets.token_hex(8)}"
        await holds.insert(
            tx,
            hold_id=hold_id,
            kind=kind,
            target=target,
            until=until,
            reason=reason,
            who=who,
            now=now,
        )
        key = f"hold/{hold_id}"
        count = await outbox.put_for_running(
            tx,
            holds.held_by(kind, target),
            kind="hold",
            key=key,
            payload={
                "hold_id": hold_id,
                "kind": kind,
                "until": until.isoformat() if until else None,
                "reason_id": reason_id,
                "who": who,
            },
            now=now,
        )
        await audit.append(tx, who=who, action=f"hold_{kind}", target=target, why=reason, now=now)
    return Told(count, (key,))


async def release(
    desk: Desk,
    held: Iterable[tuple[HoldKind, str]],
    *,
    reason: str | None = None,
    default_who: str | None = None,
) -> Told | None:
    """Lift every hold of these kinds on these targets; None where none is set.

    A mailbox's troubles count anew from here.

    Raises:
        ActionError: Nobody has the acting address.
    """
    keys: list[str] = []
    count = 0
    async with desk.store.write() as tx:
        now = await desk.store.now(tx)
        who = await desk.who(tx, default_who)
        for kind, target in dict.fromkeys(held):
            rows = await holds.of_target(tx, kind, target, now)
            for row in rows:
                await holds.mark_released(tx, row.id, who, now)
                keys.append(f"release/{row.id}")
                count += await outbox.put_for_running(
                    tx,
                    holds.held_by(kind, target),
                    kind="release",
                    key=keys[-1],
                    payload={"hold_id": row.id, "who": who},
                    now=now,
                )
            if kind is HoldKind.MAILBOX:
                await mailboxes.released(tx, target)
            if rows:
                await audit.append(
                    tx, who=who, action=f"release_{kind}", target=target, why=reason, now=now
                )
    return Told(count, tuple(keys)) if keys else None
