"""Emails by where they stand, as the Emails page lists them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign.states import MessageState
from drumbeat.store.schema import campaigns, enrollments, messages, people, reps

PAGE = 50


class Tab(StrEnum):
    """What the page shows at a time."""

    DECIDE = "decide"
    SCHEDULED = "scheduled"
    SENDING = "sending"
    SENT = "sent"
    BOUNCED = "bounced"
    CANCELLED = "cancelled"


_NEEDS_A_DECISION = (MessageState.FAILED, MessageState.IN_DOUBT, MessageState.BLOCKED)


def _which(tab: Tab) -> ColumnElement[bool]:
    match tab:
        case Tab.DECIDE:
            return and_(messages.c.state.in_(_NEEDS_A_DECISION), enrollments.c.ended_at.is_(None))
        case Tab.SCHEDULED:
            return messages.c.state == MessageState.SCHEDULED
        case Tab.SENDING:
            return messages.c.state == MessageState.SENDING
        case Tab.SENT:
            return and_(messages.c.state == MessageState.SENT, messages.c.bounced.is_(None))
        case Tab.BOUNCED:
            why = messages.c.why["code"].as_string()
            return or_(messages.c.bounced.is_not(None), why.in_(("bounced", "soft_bounce")))
        case Tab.CANCELLED:
            return messages.c.state == MessageState.CANCELLED


def _order(tab: Tab) -> tuple[Any, bool]:
    """The moment by which a tab is ordered, and whether the earliest comes first."""
    match tab:
        case Tab.SCHEDULED | Tab.SENDING:
            return func.coalesce(messages.c.due_at, messages.c.updated_at), True
        case Tab.SENT:
            return messages.c.sent_at, False
        case _:
            return messages.c.updated_at, False


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
        own: Which rows of `enrollments` the user may see.
        tab: Which emails.
        campaign: A slug; None: all.
        rep: A rep's id; None: all that the user may see.
        reason: A code of `WhyCode`.
        search: Part of an address or of a subject.
        after: The moment, the enrollment and the step of the last row of the page before.
    """
    moment, ascending = _order(tab)
    wanted: Select[Any] = (
        select(
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
            moment.label("moment"),
            enrollments.c.plan,
            enrollments.c.state.label("enrollment_state"),
            enrollments.c.ended_at,
            enrollments.c.campaign,
            enrollments.c.person_id,
            campaigns.c.name.label("campaign_name"),
            people.c.email,
            people.c.fields,
            reps.c.name.label("rep_name"),
        )
        .join(enrollments, enrollments.c.id == messages.c.enrollment_id)
        .join(people, people.c.id == enrollments.c.person_id)
        .join(campaigns, campaigns.c.slug == enrollments.c.campaign)
        .join(reps, reps.c.id == enrollments.c.rep_id)
        .where(own, _which(tab))
    )
    if campaign:
        wanted = wanted.where(enrollments.c.campaign == campaign)
    if rep:
        wanted = wanted.where(enrollments.c.rep_id == rep)
    if reason:
        wanted = wanted.where(messages.c.why["code"].as_string() == reason)
    if search:
        wanted = wanted.where(
            or_(
                people.c.email.contains(search.lower(), autoescape=True),
                messages.c.subject.icontains(search, autoescape=True),
            )
        )
    place = (messages.c.enrollment_id, messages.c.step)
    if after is not None:
        at, enrollment_id, step = after
        beyond = moment > at if ascending else moment < at
        later = or_(place[0] > enrollment_id, and_(place[0] == enrollment_id, place[1] > step))
        wanted = wanted.where(or_(beyond, and_(moment == at, later)))
    by = moment.asc() if ascending else moment.desc()
    found = await tx.execute(wanted.order_by(by, *place).limit(PAGE))
    rows: Sequence[Row[Any]] = found.all()
    return rows


async def counts(tx: AsyncConnection, own: ColumnElement[bool]) -> Mapping[str, int]:
    """How many emails are in each state, and of those that a person must decide, running ones."""
    is_running = enrollments.c.ended_at.is_(None)
    found = await tx.execute(
        select(messages.c.state, is_running, func.count())
        .join(enrollments, enrollments.c.id == messages.c.enrollment_id)
        .where(own, messages.c.state.not_in((MessageState.SENT, MessageState.CANCELLED)))
        .group_by(messages.c.state, is_running)
    )
    totals = {tab.value: 0 for tab in (Tab.DECIDE, Tab.SCHEDULED, Tab.SENDING)}
    for state, running, count in found:
        if state in _NEEDS_A_DECISION:
            totals[Tab.DECIDE] += count if running else 0
        elif state in totals:
            totals[state] += count
    return totals
