"""The reps' mailboxes: where each stands within its limits, whether it works, and its holds."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.actions import holding
from drumbeat.actions.desk import Desk
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.actions.people import who_acted
from drumbeat.actions.telling import Told
from drumbeat.campaign.calendar import local_date, resolve
from drumbeat.campaign.planning import LaunchError, parse_moment
from drumbeat.campaign.states import HoldKind
from drumbeat.mail.sending import Mailer, Proof
from drumbeat.mail.sent_folder import prove_imap
from drumbeat.reps import Limit, Rep, Reps
from drumbeat.store import holds
from drumbeat.store import mailboxes as table
from drumbeat.store.schema import marks


@dataclass(frozen=True, slots=True)
class Use:
    """How far a limit is used up now."""

    limit: Limit
    used: int
    """Emails handed over within the span that ends now."""


@dataclass(frozen=True, slots=True)
class FirstEmails:
    """First emails of enrollments on today's date where the mailbox's owner is."""

    on: date
    used: int
    limit: int | None
    """None: no limit."""


@dataclass(frozen=True, slots=True)
class HoldShown:
    """A hold on a mailbox; of one that Drumbeat has set, the reason is the server's words."""

    set_at: datetime
    until: datetime | None
    reason: str | None
    who: str | None
    """The name of who set it; None: Drumbeat."""


@dataclass(frozen=True, slots=True)
class MailboxShown:
    """A rep's mailbox as lists show it."""

    rep_id: str
    rep: Rep
    uses: Sequence[Use]
    first_emails: FirstEmails
    places: int
    """Emails that have taken a place within the limits and wait for it."""
    last_place: datetime | None
    """When the last of them leaves, UTC."""
    holds: Sequence[HoldShown]
    trouble: str | None
    """What the server said last, where it was no success."""
    proved_at: datetime | None

    @property
    def zone(self) -> ZoneInfo:
        """Where the mailbox's owner is."""
        return zone_of(self.rep)

    @property
    def server(self) -> str:
        """Where its emails go: host and port."""
        return f"{self.rep.mailbox.smtp.host}:{self.rep.mailbox.smtp.port}"


async def every(tx: AsyncConnection, known: Reps, now: datetime) -> Sequence[MailboxShown]:
    """All mailboxes of the reps file, in its order."""
    return [await _shown(tx, known.id_of(rep), rep, now) for rep in known]


def zone_of(rep: Rep) -> ZoneInfo:
    """Where the mailbox's owner is: what its dates and clock times are local to."""
    return ZoneInfo(rep.timezone or "UTC")


def rep_of(known: Reps, address: str) -> Rep:
    """The rep of the file with an address.

    Raises:
        NotFound: There is none.
    """
    rep = known.by_address(address)
    if rep is None:
        raise NotFound(f"no rep has the address {address.strip()}: see the reps file")
    return rep


async def check(desk: Desk, mailer: Mailer, known: Reps, address: str) -> Proof:
    """Connect to a mailbox's servers and sign in, sending nothing; a success is noted.

    The one for IMAP is tried where it is set up: emails in doubt are looked for there.

    Raises:
        NotFound: No rep has the address.
        MailboxError: Its password cannot be read.
    """
    rep = rep_of(known, address)
    rep.mailbox.password()  # a missing one is told by its own words, not as a failed sign-in
    proof = await mailer.prove(rep.mailbox)
    if proof.ok and rep.mailbox.imap is not None:
        imap = await asyncio.to_thread(prove_imap, rep.mailbox)
        text = f"SMTP {proof.text}; IMAP {imap.text}"
        proof = Proof(ok=imap.ok, text=text, tls=proof.tls)
    if proof.ok:
        async with desk.store.write() as tx:
            await table.proved(tx, known.id_of(rep), await desk.store.now(tx))
    return proof


async def hold(
    desk: Desk,
    known: Reps,
    addresses: Iterable[str],
    *,
    until: str | None = None,
    reason: str | None = None,
) -> tuple[Told, datetime | None]:
    """Let nothing leave from mailboxes.

    Args:
        desk: From where it is done.
        known: The reps file.
        addresses: The mailboxes.
        until: When it ends by itself, as typed: local to the mailbox's owner without an offset.
        reason: Why, in the words of who acts.

    Returns:
        Who was told, and the moment at which it ends, UTC.

    Raises:
        ActionError: No rep has the address, or the moment cannot be used.
    """
    found = [rep_of(known, address) for address in addresses]
    moment = None if until is None else _moment(until, found)
    count = 0
    keys: list[str] = []
    for rep in found:
        told = await holding.hold(
            desk,
            HoldKind.MAILBOX,
            known.id_of(rep),
            until=moment,
            reason=reason,
            default_who=known.id_of(rep),
        )
        count += told.enrollments
        keys += told.keys
    return Told(count, tuple(keys)), moment


async def release(
    desk: Desk, known: Reps, addresses: Iterable[str], *, reason: str | None = None
) -> Told:
    """Lift what holds mailboxes; their troubles count anew from here.

    Raises:
        ActionError: No rep has the address, or nothing holds any of them.
    """
    found = [rep_of(known, address) for address in addresses]
    held = [(HoldKind.MAILBOX, known.id_of(rep)) for rep in found]
    default = known.id_of(found[0]) if len(found) == 1 else None
    told = await holding.release(desk, held, reason=reason, default_who=default)
    if told is None:
        which = found[0].email if len(found) == 1 else "any of them"
        raise ActionError(f"nothing holds the mailbox of {which}")
    return told


def _moment(text: str, found: Sequence[Rep]) -> datetime:
    zones = list(dict.fromkeys(zone_of(rep) for rep in found))
    try:
        instants = {parse_moment(text, zone, must_exist=True) for zone in zones}
    except LaunchError as error:
        raise ActionError(str(error)) from error
    if len(instants) != 1:
        raise ActionError(f"{text} is another moment for each of the reps: write it with an offset")
    return instants.pop()


async def _shown(tx: AsyncConnection, rep_id: str, rep: Rep, now: datetime) -> MailboxShown:
    zone = zone_of(rep)
    today = local_date(now, zone)
    midnight = resolve(today, time(0), zone)
    first = await _sent(tx, rep_id, midnight - timedelta(microseconds=1), now, only_first=True)
    places = (
        await tx.execute(
            select(func.count().label("number"), func.max(marks.c.at).label("last")).where(
                marks.c.mailbox == rep_id, marks.c.handed_over.is_(False), marks.c.at > now
            )
        )
    ).one()
    known = await table.find(tx, rep_id)
    return MailboxShown(
        rep_id=rep_id,
        rep=rep,
        uses=[
            Use(limit, await _sent(tx, rep_id, now - limit.span, now))
            for limit in reversed(rep.mailbox.limits)
        ],
        first_emails=FirstEmails(today, first, rep.mailbox.first_emails_per_day),
        places=places.number,
        last_place=places.last,
        holds=await _holds(tx, rep_id, now),
        trouble=known.last_trouble if known is not None else None,
        proved_at=known.proved_at if known is not None else None,
    )


async def _sent(
    tx: AsyncConnection,
    rep_id: str,
    after: datetime,
    now: datetime,
    *,
    only_first: bool = False,
) -> int:
    """How many emails were handed over after an instant, up to now (UTC)."""
    wanted = select(func.count()).where(
        marks.c.mailbox == rep_id, marks.c.handed_over, marks.c.at > after, marks.c.at <= now
    )
    if only_first:
        wanted = wanted.where(marks.c.first)
    return int((await tx.execute(wanted)).scalar_one())


async def _holds(tx: AsyncConnection, rep_id: str, now: datetime) -> list[HoldShown]:
    found: list[Row[Any]] = [
        *await holds.of_target(tx, HoldKind.MAILBOX, rep_id, now),
        *await holds.of_target(tx, HoldKind.REP, rep_id, now),
    ]
    known = await who_acted(tx, (hold.who for hold in found))
    names = {who: rep.name for who, rep in known.items()}
    return [
        HoldShown(hold.set_at, hold.until, hold.reason, names.get(hold.who, hold.who))
        for hold in found
    ]
