"""When an email may leave: the calendar's rules at the moment of sending, and the mailbox's places.

Every function works in the caller's write transaction, in which the email's row is locked.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from activities.letters import Case
from activities.outcomes import SendEmail, WaitUntil
from activities.seeking import first_emails, seek
from drumbeat.campaign import calendar
from drumbeat.campaign.calendar import Due
from drumbeat.campaign.states import Why, WhyCode
from drumbeat.mail import limits
from drumbeat.mail.limits import FirstEmails
from drumbeat.store import ledger
from drumbeat.store.places import counted

SOON = timedelta(seconds=5)
AN_ASK = timedelta(milliseconds=50)
"""What an email that falls due in a crowd takes two cores until it has its place: two workflow
tasks and an activity (measured: docs/reliability.md)."""


async def waits(
    tx: AsyncConnection, send: SendEmail, case: Case, now: datetime
) -> WaitUntil | None:
    """Until when calendar or limits let an email wait; None: it may leave, its place is taken."""
    due = Due(send.due_at, send.due_on)
    clock = calendar.slot(case.plan, case.standing, case.planned).clock

    def leave(at: datetime) -> datetime:
        nonlocal due
        if not send.by_rep:
            due = calendar.later(case.plan, case.planned, clock, due, at)
        return max(due.at, at)

    if leave(now) > now:
        is_day = calendar.is_sending_day(case.plan, calendar.local_date(now, case.plan.zone))
        is_window = is_day and calendar.may_leave(case.plan, now) == due.at
        code = WhyCode.WINDOW if is_window else WhyCode.TIME
        await ledger.give_back(tx, case.message)
        return WaitUntil(at=due.at, on=due.on, why=Why(code=code, until=due.at))
    if not _is_limited(case):
        return None
    await ledger.lock_mailbox(tx, case.message.mailbox)
    place = await ledger.own_place(tx, case.message)
    if place is not None and place <= now <= place + limits.VALID_FOR:
        return None
    await _give_back(tx, case, now)
    mailbox = case.rep.mailbox
    first = await _first_emails(tx, case, now, only_handed_over=send.by_rep)
    if send.by_rep:
        # A rep's own send is planned around nobody: it counts what was sent, and waits for it.
        sent = await _handed_over(tx, case, now)
        at = limits.place(now, leave=leave, marks=sent, limits=mailbox.limits, first=first)
        due = Due(at, max(due.on, calendar.local_date(at, case.plan.zone)))
    else:
        planned = limits.with_spare(mailbox.limits)
        at = await seek(tx, case.message.mailbox, now, planned, leave=leave, first=first)
        if at > now and at < (crowd := await _end_of_crowd(tx, now)):
            at = await seek(tx, case.message.mailbox, crowd, planned, leave=leave, first=first)
    await ledger.take_place(tx, case.message, at)
    if at <= now:
        return None
    return WaitUntil(at=at, on=due.on, why=Why(code=WhyCode.LIMITS, until=at))


async def still_fits(tx: AsyncConnection, send: SendEmail, case: Case, now: datetime) -> bool:
    """Whether window and limits allow an email directly before DATA.

    While its place is valid, only what was really sent counts. A server that is slow to answer can
    let the place pass: then one is looked for anew, among the places that others have taken.
    """
    if not send.by_rep and calendar.may_leave(case.plan, now) > now:
        return False
    if not _is_limited(case):
        return True
    await ledger.lock_mailbox(tx, case.message.mailbox)
    place = await ledger.own_place(tx, case.message)
    mailbox = case.rep.mailbox
    counts_all = not send.by_rep and (place is None or now > place + limits.VALID_FOR)
    if counts_all:
        await _give_back(tx, case, now)
    first = await _first_emails(tx, case, now, only_handed_over=not counts_all)

    def leave(at: datetime) -> datetime:
        return at

    if counts_all:
        planned = limits.with_spare(mailbox.limits)
        at = await seek(tx, case.message.mailbox, now, planned, leave=leave, first=first)
    else:
        sent = await _handed_over(tx, case, now)
        at = limits.place(now, leave=leave, marks=sent, limits=mailbox.limits, first=first)
    return at <= now


def later(at: datetime, send: SendEmail, case: Case) -> Due:
    """When an email is due that is not to leave before `at` (UTC); R9 and R10 hold."""
    if send.by_rep:
        return Due(at, send.due_on)
    clock = calendar.slot(case.plan, case.standing, case.planned).clock
    return calendar.later(case.plan, case.planned, clock, Due(send.due_at, send.due_on), at)


def ask_again(now: datetime, send: SendEmail, case: Case) -> WaitUntil:
    """Soon, and with a fresh look at everything."""
    due = later(now + SOON, send, case)
    return WaitUntil(at=due.at, on=due.on, why=Why(code=WhyCode.TIME, until=due.at))


async def _end_of_crowd(tx: AsyncConnection, now: datetime) -> datetime:
    """When all that have fallen due will have asked, UTC; nobody can be woken before in time.

    An earlier place would be missed, and its email come after all others. `now` where few are due.
    """
    number = await ledger.fallen_due(tx, now)
    return now + number * AN_ASK if number * AN_ASK > limits.VALID_FOR else now


def _is_limited(case: Case) -> bool:
    mailbox = case.rep.mailbox
    return bool(mailbox.limits) or mailbox.first_emails_per_day is not None


async def _give_back(tx: AsyncConnection, case: Case, now: datetime) -> None:
    """Free the email's own place, and those that others have missed."""
    await ledger.give_back(tx, case.message)
    await ledger.give_missed_back(tx, case.message.mailbox, now - limits.VALID_FOR)


async def _handed_over(tx: AsyncConnection, case: Case, now: datetime) -> Sequence[datetime]:
    """The recorded sends that the mailbox's limits still count."""
    spans = [limit.span for limit in case.rep.mailbox.limits]
    if not spans:
        return ()
    return await counted(tx, case.message.mailbox, now - max(spans), only_handed_over=True)


async def _first_emails(
    tx: AsyncConnection, case: Case, now: datetime, *, only_handed_over: bool
) -> FirstEmails | None:
    per_day = case.rep.mailbox.first_emails_per_day
    if per_day is None or not case.message.first:
        return None
    zone = ZoneInfo(case.rep.timezone or "UTC")
    return await first_emails(
        tx, case.message.mailbox, now, per_day, zone, only_handed_over=only_handed_over
    )
