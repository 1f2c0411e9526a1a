"""The last look before anything opens or leaves: is somebody against it?"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from activities.outcomes import Held, NotSent
from drumbeat.campaign.model import OnReply
from drumbeat.campaign.states import HoldKind, Outcome, Why, WhyCode
from drumbeat.store import campaigns, holds, suppressions


async def guard(
    tx: AsyncConnection,
    enrollment: Row[Any],
    address: str | None,
    released: Collection[str],
    now: datetime,
) -> Held | NotSent | None:
    """Why nothing may open or leave for an enrollment now; None: nothing stands against it.

    Args:
        tx: The transaction that records what is done next.
        enrollment: The enrollment's row, read in it.
        address: The person's, where an email is to leave; None for tasks.
        released: Holds that the workflow knows to be lifted, whatever the tables say yet.
        now: UTC.
    """
    if enrollment.ended_at is not None:
        outcome = Outcome(enrollment.outcome)
        return NotSent(why=Why(code=WhyCode.ENDED, detail=outcome), outcome=outcome)
    if enrollment.end_asked is not None:
        outcome = Outcome(enrollment.end_asked["outcome"])
        return NotSent(why=Why(code=WhyCode.ENDED, detail=outcome), outcome=outcome)
    if enrollment.replied_at is not None:
        on_reply = (await campaigns.load(tx, enrollment.version)).settings.on_reply
        if on_reply is not OnReply.CONTINUE:
            is_success = on_reply is OnReply.END_AS_SUCCESS
            outcome = Outcome.REPLIED_SUCCESS if is_success else Outcome.REPLIED
            return NotSent(why=Why(code=WhyCode.REPLIED, detail=outcome), outcome=outcome)
    if address is not None:
        found = await suppressions.is_suppressed(tx, address)
        if found is not None and found.kind == "domain":
            why = Why(code=WhyCode.BLOCKED_DOMAIN)
            return NotSent(why=why, outcome=Outcome.REMOVED)
        if found is not None:
            why = Why(code=WhyCode.SUPPRESSED, detail=found.source)
            return NotSent(why=why, outcome=of_suppression(found.source))
    for hold in await holds.active(tx, enrollment, now):
        if hold.id not in released:
            return Held(hold_id=hold.id, hold_kind=HoldKind(hold.kind), until=hold.until)
    return None


def of_suppression(source: str) -> Outcome:
    """How a suppression with that source ends an enrollment: by the person's wish, or by ours."""
    return Outcome.UNSUBSCRIBED if source == "unsubscribed" else Outcome.REMOVED
