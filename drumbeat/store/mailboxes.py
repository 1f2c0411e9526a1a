"""What the mail servers have said to the reps' mailboxes lately: trouble, and bounces, running."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.store.engine import insert_new
from drumbeat.store.schema import mailboxes

# Made once, as it follows every send: see docs/measured.md.
_NO_TROUBLE = (
    update(mailboxes)
    .where(mailboxes.c.rep_id == bindparam("rep"))
    .where(or_(mailboxes.c.bounces_running > 0, mailboxes.c.last_trouble.is_not(None)))
    .values(troubled_people=[], bounces_running=0, last_trouble=None)
)


async def delivered(tx: AsyncConnection, rep_id: str) -> None:
    """An email was accepted: neither trouble nor bounces are running any more."""
    await tx.execute(_NO_TROUBLE, {"rep": rep_id})


async def troubled(tx: AsyncConnection, rep_id: str, person_id: str, words: str) -> int:
    """The server refused the sender, or did not answer; for how many people running."""
    row = await _row(tx, rep_id)
    people = [*row.troubled_people, *([person_id] if person_id not in row.troubled_people else [])]
    await tx.execute(
        update(mailboxes)
        .where(mailboxes.c.rep_id == rep_id)
        .values(troubled_people=people, last_trouble=words)
    )
    return len(people)


async def bounced(tx: AsyncConnection, rep_id: str) -> int:
    """An address does not exist; how many running."""
    running: int = (await _row(tx, rep_id)).bounces_running + 1
    await tx.execute(
        update(mailboxes).where(mailboxes.c.rep_id == rep_id).values(bounces_running=running)
    )
    return running


async def released(tx: AsyncConnection, rep_id: str) -> None:
    """A person has looked after it: what was counted counts no more."""
    await tx.execute(
        update(mailboxes)
        .where(mailboxes.c.rep_id == rep_id)
        .values(troubled_people=[], bounces_running=0, last_trouble=None)
    )


async def proved(tx: AsyncConnection, rep_id: str, at: datetime) -> None:
    """It was tried: connected, and signed in."""
    await _row(tx, rep_id)
    await tx.execute(update(mailboxes).where(mailboxes.c.rep_id == rep_id).values(proved_at=at))


async def find(tx: AsyncConnection, rep_id: str) -> Row[Any] | None:
    """What is known of a mailbox; None: nothing was ever wrong."""
    return (await tx.execute(select(mailboxes).where(mailboxes.c.rep_id == rep_id))).one_or_none()


async def _row(tx: AsyncConnection, rep_id: str) -> Row[Any]:
    await insert_new(tx, mailboxes, {"rep_id": rep_id, "troubled_people": [], "bounces_running": 0})
    wanted = select(mailboxes).where(mailboxes.c.rep_id == rep_id).with_for_update(key_share=True)
    return (await tx.execute(wanted)).one()
