"""Remove people from campaigns: noted in the tables, which every send reads, then told."""

from sqlalchemy import ColumnElement, update

from drumbeat.actions.desk import Desk, keep_text
from drumbeat.actions.telling import Told
from drumbeat.campaign.states import Outcome
from drumbeat.store import audit, outbox
from drumbeat.store.schema import enrollments


async def end(
    desk: Desk,
    which: ColumnElement[bool],
    *,
    target: str,
    success: bool,
    reason: str | None,
    default_who: str | None = None,
) -> Told:
    """Ask every running enrollment that `which` selects to end; the first end asked for wins.

    Args:
        desk: From where it is done.
        which: Selects enrollments.
        target: The person's or the enrollment's id, or the campaign's slug, for the audit log.
        success: Whether the outcome is `success`, not `removed`.
        reason: Why, in the words of who acts.
        default_who: The rep's id who acts where the desk names nobody.

    Returns:
        How many will end that had not been asked before; nothing more leaves for them.

    Raises:
        ActionError: Nobody has the acting address.
    """
    outcome = Outcome.SUCCESS if success else Outcome.REMOVED
    async with desk.store.write() as tx:
        now = await desk.store.now(tx)
        who = await desk.who(tx, default_who)
        reason_id = await keep_text(tx, reason, who, now)
        fresh = which & enrollments.c.ended_at.is_(None) & enrollments.c.end_asked.is_(None)
        asked = {"outcome": outcome, "reason_id": reason_id, "who": who}
        await tx.execute(update(enrollments).where(fresh).values(end_asked=asked))
        # Whoever was asked before has a row by the same key already.
        count = await outbox.put_for_running(
            tx,
            which & enrollments.c.end_asked.is_not(None),
            kind="end",
            key="end",
            payload={"success": success, "reason_id": reason_id, "who": who},
            now=now,
        )
        await audit.append(tx, who=who, action="end", target=target, why=reason, now=now)
    return Told(count, ())
