"""Addresses and domains that get no email: suppressed, blocked, lifted, unsubscribed (SPEC 9)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.actions.desk import Desk, keep_text, moment
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.actions.telling import Told
from drumbeat.campaign.people import BadAddress, normalise_address
from drumbeat.campaign.record import What
from drumbeat.campaign.states import MessageState
from drumbeat.store import audit, events, outbox, suppressions
from drumbeat.store.engine import Store
from drumbeat.store.schema import enrollments, messages, people, reps
from drumbeat.store.suppressions import Kind, Source
from workflows.messages import End, Unsubscribed


@dataclass(frozen=True, slots=True)
class Suppressed:
    """What suppressing an address, or blocking a domain, has done."""

    value: str
    """The address or the domain, normalised."""
    is_new: bool
    """Whether it was not suppressed before."""
    told: Told
    """The running enrollments that end by it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A suppression or a block that stands."""

    value: str
    source: str
    reason: str | None
    who: str | None
    """The address of the rep who asked for it."""
    at: datetime
    """UTC."""


async def unsubscribe_enrollment(store: Store, enrollment_id: str, reason: str | None) -> bool:
    """Unsubscribe the person of an enrollment, as a link in one of its emails asks.

    The address gets no email from this moment, whatever the campaign; all running enrollments of
    the person are told to end. It works for ended enrollments too. Repeating it changes nothing. A
    suppression from another source gives way: lifting that one must not undo the person's wish.

    Args:
        store: The database.
        enrollment_id: Whose link it is.
        reason: What the person wrote; may be blank.

    Returns:
        Whether the person was not unsubscribed before.

    Raises:
        NotFound: There is no such enrollment.
        StoreError: The database cannot take it now.
    """
    async with store.write() as tx:
        now = await store.now(tx)
        wanted = select(enrollments, people.c.email).join(people)
        found = await tx.execute(wanted.where(enrollments.c.id == enrollment_id))
        row = found.one_or_none()
        if row is None:
            raise NotFound("there is no such enrollment")
        text = (reason or "").strip() or None
        suppression_id = await suppressions.add_wish(tx, row.email, text, None, now)
        said = Unsubscribed()
        if suppression_id is not None:
            said = await _note_unsubscribed(tx, row, suppression_id, text, now)
        for which, message in (
            (enrollments.c.id == row.id, said),
            (enrollments.c.id != row.id, Unsubscribed()),
        ):
            await outbox.put_for_running(
                tx,
                (enrollments.c.person_id == row.person_id)
                & which
                & outbox.never_told(_UNSUBSCRIBED),
                kind=_UNSUBSCRIBED,
                key=f"{_UNSUBSCRIBED}/{enrollment_id}",
                payload=message.model_dump(mode="json", exclude={"enrollment_id"}),
                now=now,
            )
    return suppression_id is not None


async def suppress_address(desk: Desk, address: str, reason: str | None) -> Suppressed:
    """Send nothing more to an address; its running enrollments are told to end as removed.

    It need not be a known person's. Where it is suppressed already, that stays as it is.

    Raises:
        ActionError: The address is malformed, or nobody has the address that acts.
        StoreError: The database cannot take it now.
    """
    value = _address(address)
    return await _suppress(desk, "address", value, reason, people.c.email == value)


async def block_domain(desk: Desk, domain: str, reason: str | None) -> Suppressed:
    """Send nothing more to anybody at a domain; running enrollments there are told to end.

    The domain is compared whole, in lower case and in ASCII (IDNA): example.com is neither
    notexample.com nor mail.example.com. Sub-domains are often other people's, so each is blocked
    by itself.

    Raises:
        ActionError: It is no domain, or nobody has the address that acts.
        StoreError: The database cannot take it now.
    """
    value = normalise_domain(domain)
    theirs = people.c.email.endswith(f"@{value}", autoescape=True)
    return await _suppress(desk, "domain", value, reason, theirs)


async def lift(desk: Desk, kind: Kind, value: str, reason: str) -> str:
    """Let email go to an address or a domain again; what has ended stays ended.

    Args:
        desk: From where it is asked.
        kind: What `value` is.
        value: As typed.
        reason: Why; it must say something.

    Returns:
        The address or the domain, normalised.

    Raises:
        ActionError: The reason is blank, the value malformed, or nothing stands against it.
        StoreError: The database cannot take it now.
    """
    if not reason.strip():
        raise ActionError("a reason is wanted: it is kept beside what it lifts")
    value = _address(value) if kind == "address" else normalise_domain(value)
    async with desk.store.write() as tx:
        now = await desk.store.now(tx)
        who = await desk.who(tx, None)
        stands = await suppressions.find(tx, kind, value)
        if stands is None:
            raise ActionError(await _why_nothing_stands(tx, kind, value))
        await suppressions.lift(tx, kind, value, who=who, why=reason.strip(), now=now)
        await audit.append(
            tx, who=who, action="lift", target=stands.id, why=reason.strip(), now=now
        )
    return value


async def standing(store: Store, kind: Kind) -> Sequence[Standing]:
    """The suppressed addresses, or the blocked domains, oldest first.

    Raises:
        StoreError: The database cannot be read now.
    """
    async with store.read() as tx:
        rows = await suppressions.every(tx, kind)
        found = await tx.execute(select(reps.c.id, reps.c.email))
        addresses = {row.id: row.email for row in found}
    return [
        Standing(row.value, row.source, row.reason, addresses.get(row.who, row.who), row.at)
        for row in rows
    ]


def normalise_domain(text: str) -> str:
    """A domain as it stands in normalised addresses; a leading @ and a trailing dot may go.

    >>> normalise_domain("@Bücher.example.")
    'xn--bcher-kva.example'

    Raises:
        ActionError: It is no domain that an address can have.
    """
    written = text.strip().removeprefix("@").removesuffix(".")
    if "@" in written:
        raise ActionError(f"{text.strip()!r} is an address: for one address there is `suppress`")
    try:
        return normalise_address(f"x@{written}").rpartition("@")[2]
    except BadAddress as error:
        raise ActionError(f"{text.strip()!r} is no domain such as example.com: {error}") from error


_UNSUBSCRIBED = "unsubscribed"
_END = "end"


async def _note_unsubscribed(
    tx: AsyncConnection, row: Row[Any], suppression_id: str, reason: str | None, now: datetime
) -> Unsubscribed:
    """The audit log's entry, and what the workflow is told: it says so in the timeline.

    The timeline of an enrollment that has ended gets its event here: nobody else would write it.
    """
    text_id = await keep_text(tx, reason, None, now)
    sent = select(func.max(messages.c.step)).where(
        messages.c.enrollment_id == row.id, messages.c.state == MessageState.SENT
    )
    step = (await tx.execute(sent)).scalar_one()
    if row.ended_at is not None:
        await events.append(
            tx,
            enrollment_id=row.id,
            key=f"{_UNSUBSCRIBED}/{suppression_id}",
            person_id=row.person_id,
            campaign=row.campaign,
            at=now,
            what=What.UNSUBSCRIBED,
            step=step,
            detail={"text": text_id} if text_id else None,
        )
    await audit.append(
        tx, who=None, action="unsubscribe", target=suppression_id, why=reason, now=now
    )
    return Unsubscribed(step=step, reason_id=text_id)


async def _suppress(
    desk: Desk, kind: Kind, value: str, reason: str | None, whom: ColumnElement[bool]
) -> Suppressed:
    async with desk.store.write() as tx:
        now = await desk.store.now(tx)
        who = await desk.who(tx, None)
        text = (reason or "").strip() or None
        new_id = await suppressions.add(
            tx, kind=kind, value=value, source=Source.MANUAL, reason=text, who=who, now=now
        )
        if new_id is not None:
            suppression_id = new_id
            action = "suppress" if kind == "address" else "block"
            await audit.append(tx, who=who, action=action, target=suppression_id, why=text, now=now)
        else:
            stands = await suppressions.find(tx, kind, value)
            if stands is None:
                raise ActionError(f"{value} was lifted at this very moment: look, and try again")
            suppression_id = stands.id
        theirs = enrollments.c.person_id.in_(select(people.c.id).where(whom))
        key = f"suppressed/{suppression_id}"
        reason_id = await keep_text(tx, text, who, now)
        end = End(success=False, reason_id=reason_id, who=who)
        await outbox.put_for_running(
            tx,
            theirs,
            kind=_END,
            key=key,
            payload=end.model_dump(mode="json", exclude={"enrollment_id"}),
            now=now,
        )
        running = select(func.count()).where(theirs, enrollments.c.ended_at.is_(None))
        ending = (await tx.execute(running)).scalar_one()
    return Suppressed(value, new_id is not None, Told(ending, (f"{key}/",)))


async def _why_nothing_stands(tx: AsyncConnection, kind: Kind, value: str) -> str:
    if kind == "domain":
        return f"{value} is not blocked"
    domain = value.rpartition("@")[2]
    blocked = await suppressions.find(tx, "domain", domain)
    if blocked is not None:
        since = moment(blocked.at)
        return f"{value} is not suppressed itself: its domain is blocked, since {since}"
    return f"{value} is not suppressed"


def _address(text: str) -> str:
    try:
        return normalise_address(text.strip())
    except BadAddress as error:
        raise ActionError(
            f"{text.strip()!r} is no email address that can be used: {error}"
        ) from error
