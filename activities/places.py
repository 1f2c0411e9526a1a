"""When an email may leave: the calendar's rules at the moment of sending, and the mailbox's places.

Every function works in the caller's write transaction, in which the email's row is locked.
"""

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from activities.letters import Case
from activities.outcomes import SendEmail, WaitUntil
from drumbeat.campaign import calendar
from drumbeat.campaign.calendar import Due
from drumbeat.campaign.states import Why, WhyCode
from drumbeat.mail import limits
from drumbeat.mail.limits import FirstEmails
from drumbeat.store import ledger

SOON = timedelta(seconds=5)


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
        return WaitUntil(at=due.at, on=due.on, why=Why(code=code, until=due.at))
    if not _is_limited(case):
        return None
    await ledger.lock_mailbox(tx, case.message.mailbox)
    place = await ledger.own_place(tx, case.message)
    if place is not None and place <= now <= place + limits.VALID_FOR:
        return None
    known = await _known(tx, case, now, only_handed_over=send.by_rep)
    at = limits.place(now, leave=leave, **known)
    if send.by_rep:
        # A rep's own send is planned around nobody: it counts what was sent, and waits for it.
        due = Due(at, max(due.on, calendar.local_date(at, case.plan.zone)))
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
    is_valid = place is not None and now <= place + limits.VALID_FOR
    known = await _known(tx, case, now, only_handed_over=is_valid or send.by_rep)
    if is_valid:
        known["limits"] = case.rep.mailbox.limits
    return limits.place(now, leave=lambda at: at, **known) <= now


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


def _is_limited(case: Case) -> bool:
    mailbox = case.rep.mailbox
    return bool(mailbox.limits) or mailbox.first_emails_per_day is not None


async def _known(
    tx: AsyncConnection, case: Case, now: datetime, *, only_handed_over: bool
) -> dict[str, Any]:
    """What `limits.place` needs to know of the mailbox."""
    mailbox = case.rep.mailbox
    counts_first = mailbox.first_emails_per_day is not None and case.message.first
    spans = [limit.span + limits.SPARE for limit in mailbox.limits]
    if counts_first or not spans:
        spans.append(timedelta(days=2))  # a date, wherever the owner is
    since = now - max(spans)
    taken = await ledger.marks_since(tx, case.message, since, only_handed_over=only_handed_over)
    first = None
    if mailbox.first_emails_per_day is not None and case.message.first:
        zone = ZoneInfo(case.rep.timezone or "UTC")
        used: dict[date, int] = {}
        for mark in taken:
            if mark.first:
                on = calendar.local_date(mark.at, zone)
                used[on] = used.get(on, 0) + 1
        first = FirstEmails(mailbox.first_emails_per_day, zone, used)
    planned = mailbox.limits if only_handed_over else limits.with_spare(mailbox.limits)
    return {"marks": [mark.at for mark in taken], "limits": planned, "first": first}
