"""Emails by where they stand, as the Emails page lists them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Row,
    Select,
    String,
    True_,
    and_,
    func,
    literal,
    or_,
    select,
    tuple_,
    union,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign.states import MessageState, WhyCode
from drumbeat.store.lists.searching import holds_words, is_named, people_named
from drumbeat.store.schema import Moment, campaigns, enrollments, messages, people, reps

PAGE = 50
_FEW = 1000
"""People whom a search finds that are named one by one."""


class Tab(StrEnum):
    """What the page shows at a time."""

    DECIDE = "decide"
    SCHEDULED = "scheduled"
    SENDING = "sending"
    SENT = "sent"
    BOUNCED = "bounced"
    CANCELLED = "cancelled"


_NEEDS_A_DECISION = (MessageState.FAILED, MessageState.IN_DOUBT, MessageState.BLOCKED)


_MAY_HAVE_BOUNCED = (MessageState.CANCELLED, MessageState.FAILED, MessageState.BLOCKED)
_STATES: Mapping[Tab, Sequence[str]] = {
    Tab.DECIDE: _NEEDS_A_DECISION,
    Tab.BOUNCED: (MessageState.SENT, *_MAY_HAVE_BOUNCED),
}
"""The states of a tab's emails, where it is not called as its only one."""


def needs_a_decision(emails: FromClause = messages) -> ColumnElement[bool]:
    """Which emails a person must decide about.

    When an enrollment ends, what failed or is blocked is cancelled; a doubt outlives it.
    """
    return emails.c.state.in_(_NEEDS_A_DECISION)


def _which(tab: Tab, emails: FromClause) -> Sequence[ColumnElement[bool]]:
    """The conditions of a tab; an email meets one of them at most."""
    columns = emails.c
    match tab:
        case Tab.DECIDE:
            return [needs_a_decision(emails)]
        case Tab.SCHEDULED:
            return [columns.state == MessageState.SCHEDULED]
        case Tab.SENDING:
            return [columns.state == MessageState.SENDING]
        case Tab.SENT:
            return [and_(columns.state == MessageState.SENT, columns.bounced.is_(None))]
        case Tab.BOUNCED:
            refused = (
                and_(
                    columns.reason == code,
                    columns.state.in_(_MAY_HAVE_BOUNCED),
                    columns.bounced.is_(None),
                )
                for code in (WhyCode.BOUNCED, WhyCode.SOFT_BOUNCE)
            )
            return [columns.bounced.is_not(None), *refused]
        case Tab.CANCELLED:
            return [columns.state == MessageState.CANCELLED]


def _moment(tab: Tab, emails: FromClause) -> tuple[ColumnElement[datetime], bool]:
    """The moment by which a tab is ordered, and whether the earliest comes first."""
    match tab:
        case Tab.SCHEDULED | Tab.SENDING:
            return func.coalesce(emails.c.due_at, emails.c.updated_at), True
        case Tab.SENT:
            return emails.c.sent_at, False
        case _:
            return emails.c.updated_at, False


_LISTED = ("enrollment_id", "step", "state", "reason", "bounced", "subject", "searchable")
_COLUMNS = [messages.c[name] for name in (*_LISTED, "due_at", "sent_at", "updated_at")]


def _gathered(*emails: Select[Any]) -> FromClause:
    """Emails that are few enough to be gathered before they are ordered.

    The databases would else look through everybody's in their order until a page is full.
    """
    chosen = emails[0] if len(emails) == 1 else union(*emails)
    return chosen.cte("gathered").prefix_with("MATERIALIZED")


async def _searched(
    tx: AsyncConnection, own: ColumnElement[bool], tab: Tab, search: str | None
) -> tuple[FromClause, Sequence[ColumnElement[bool]]]:
    """Where to look for emails that a user may see, and what a search asks of each there."""
    if not isinstance(own, True_):
        emails = _gathered(select(*_COLUMNS).where(own))
        if not search:
            return emails, ()
        of_own = enrollments.c.id.in_(select(emails.c.enrollment_id))
        named = emails.c.enrollment_id.in_(_named(tx, search).where(of_own))
        return emails, (or_(named, holds_words(tx, emails.c.searchable, search)),)
    if not search:
        return messages, ()
    ids = await people_named(tx, search, _FEW)
    subjects = await _with_subject(tx, tab, search) if ids is not None else None
    if ids is not None and subjects is not None:
        of_these = select(enrollments.c.id).where(enrollments.c.person_id.in_(ids))
        return _gathered(
            select(*_COLUMNS).where(messages.c.enrollment_id.in_(of_these)),
            select(*_COLUMNS).where(
                tuple_(messages.c.enrollment_id, messages.c.step).in_(subjects)
            ),
        ), ()
    # Of so many some are soon found in order. One value for each row: an EXISTS would have
    # PostgreSQL look through all people first.
    its_own = enrollments.c.id == messages.c.enrollment_id
    person = enrollments.join(people, people.c.id == enrollments.c.person_id)
    is_theirs = select(is_named(tx, search)).select_from(person).where(its_own).scalar_subquery()
    return messages, (or_(is_theirs, holds_words(tx, messages.c.searchable, search)),)


def _named(tx: AsyncConnection, search: str) -> Select[tuple[str]]:
    """The enrollments of people whom a search means."""
    named = select(enrollments.c.id).join(people, people.c.id == enrollments.c.person_id)
    return named.where(is_named(tx, search))


async def _with_subject(
    tx: AsyncConnection, tab: Tab, search: str
) -> Sequence[tuple[str, int]] | None:
    """The emails of a tab whose subject a search means; None: they are many."""
    # The bound makes SQLite look through the index alone.
    wanted = select(messages.c.enrollment_id, messages.c.step).where(
        messages.c.state.in_(_STATES.get(tab, (tab.value,))),
        messages.c.searchable >= "",
        holds_words(tx, messages.c.searchable, search),
    )
    found = [(row[0], row[1]) for row in await tx.execute(wanted.limit(_FEW + 1))]
    return found if len(found) <= _FEW else None


async def page(
    tx: AsyncConnection,
    own: ColumnElement[bool],
    tab: Tab,
    *,
    campaign: str | None = None,
    rep: str | None = None,
    reason: str | None = None,
    search: str | None = None,
    after: tuple[datetime, str, int] | None = None,
) -> Sequence[Row[Any]]:
    """One page of emails that a user may see.

    Args:
        tx: Any transaction.
        own: Which rows of `messages` the user may see.
        tab: Which emails.
        campaign: A slug; None: all.
        rep: A rep's id; None: all that the user may see.
        reason: A code of `WhyCode`.
        search: Part of an address, a name, a company or a subject.
        after: The moment, the enrollment and the step of the last row of the page before.
    """
    emails, found_by = await _searched(tx, own, tab, search)
    moment, ascending = _moment(tab, emails)
    place = (moment, emails.c.enrollment_id, emails.c.step)
    # First which they are, from the indexes alone; then what is shown of these few.
    keys = select(emails.c.enrollment_id, emails.c.step, moment.label("moment")).where(*found_by)
    if campaign or rep:
        keys = keys.join(enrollments, enrollments.c.id == emails.c.enrollment_id)
    if campaign:
        keys = keys.where(enrollments.c.campaign == campaign)
    if rep:
        keys = keys.where(enrollments.c.rep_id == rep)
    if reason:
        keys = keys.where(emails.c.reason == reason)
    if after is not None:
        at, enrollment_id, step = after
        last = (literal(at, Moment()), literal(enrollment_id, String()), literal(step, Integer()))
        beyond = tuple_(*place) > tuple_(*last) if ascending else tuple_(*place) < tuple_(*last)
        keys = keys.where(beyond)
    one_way = [column.asc() if ascending else column.desc() for column in place]
    each = [
        keys.where(one).order_by(*one_way).limit(PAGE).subquery() for one in _which(tab, emails)
    ]
    found = (union_all(*map(select, each)) if len(each) > 1 else select(each[0])).subquery()
    shown = (
        _shown(found.c.moment)
        .select_from(found)
        .join(
            messages,
            and_(
                messages.c.enrollment_id == found.c.enrollment_id, messages.c.step == found.c.step
            ),
        )
    )
    shown = _with_names(shown)
    order = (found.c.moment, messages.c.enrollment_id, messages.c.step)
    shown = shown.order_by(*(column.asc() if ascending else column.desc() for column in order))
    shown = shown.limit(PAGE)
    rows: Sequence[Row[Any]] = (await tx.execute(shown)).all()
    return rows


async def one(
    tx: AsyncConnection, own: ColumnElement[bool], enrollment_id: str, step: int
) -> Row[Any] | None:
    """One email that a user may see, with the rep's draft that it would leave with."""
    wanted = _with_names(_shown(messages.c.draft_id).select_from(messages)).where(
        own, messages.c.enrollment_id == enrollment_id, messages.c.step == step
    )
    found: Row[Any] | None = (await tx.execute(wanted)).one_or_none()
    return found


def _shown(*others: ColumnElement[Any]) -> Select[Any]:
    """What is shown of an email."""
    return select(
        messages.c.enrollment_id,
        messages.c.step,
        messages.c.state,
        messages.c.why,
        messages.c.due_at,
        messages.c.sent_at,
        messages.c.updated_at,
        messages.c.subject,
        messages.c.bounced,
        messages.c.elsewhere,
        messages.c.answer,
        enrollments.c.plan,
        enrollments.c.state.label("enrollment_state"),
        enrollments.c.ended_at,
        enrollments.c.campaign,
        enrollments.c.person_id,
        campaigns.c.name.label("campaign_name"),
        people.c.email,
        people.c.fields,
        reps.c.name.label("rep_name"),
        *others,
    )


def _with_names(emails: Select[Any]) -> Select[Any]:
    """With the rows around each: its enrollment's, its person's, its campaign's, its rep's."""
    return (
        emails.join(enrollments, enrollments.c.id == messages.c.enrollment_id)
        .join(people, people.c.id == enrollments.c.person_id)
        .join(campaigns, campaigns.c.slug == enrollments.c.campaign)
        .join(reps, reps.c.id == enrollments.c.rep_id)
    )


async def counts(tx: AsyncConnection, own: ColumnElement[bool]) -> Mapping[str, int]:
    """How many emails are in each state, and how many a person must decide about.

    Args:
        tx: Any transaction.
        own: Which rows of `messages` the user may see.
    """
    waiting = select(messages.c.state, func.count().label("number")).where(
        own, messages.c.state.in_((MessageState.SCHEDULED, MessageState.SENDING))
    )
    undecided = (
        select(literal(Tab.DECIDE.value).label("state"), func.count().label("number"))
        .select_from(messages)
        .where(own, needs_a_decision())
    )
    totals = {tab.value: 0 for tab in (Tab.DECIDE, Tab.SCHEDULED, Tab.SENDING)}
    for state, number in await tx.execute(union_all(waiting.group_by(messages.c.state), undecided)):
        totals[state] = number
    return totals
