"""The campaigns as their pages list them: how many run, how they ended, what holds them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, case, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign.states import HoldKind, Outcome, State
from drumbeat.store import holds
from drumbeat.store.schema import (
    campaign_versions,
    campaigns,
    enrollments,
    reps,
    users,
)
from drumbeat.store.schema import holds as hold_rows

PAGE = 100
SUCCESSES = (Outcome.SUCCESS, Outcome.REPLIED_SUCCESS)

_HAS_ENDED = enrollments.c.state == State.ENDED
_has_none = case((campaigns.c.category.is_(None), 1), else_=0)
_category = func.coalesce(campaigns.c.category, "")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which campaigns a list shows."""

    text: str = ""
    """Part of a name, a category or a slug; empty: all."""
    is_archived: bool = False
    """Whether those out of use are meant, instead of those in use."""
    after: str | None = None
    """The slug of the last one of the page before."""


async def page(
    tx: AsyncConnection, own: ColumnElement[bool], now: datetime, wanted: Wanted
) -> Sequence[Row[Any]]:
    """The campaigns of a page by category and name, those without a category last.

    There is one more than `PAGE` where others follow.

    Args:
        tx: A transaction.
        own: Which enrollments count.
        now: UTC.
        wanted: Which campaigns.
    """
    totals = (
        select(
            enrollments.c.campaign,
            func.count().label("enrolled"),
            func.sum(case((_HAS_ENDED, 0), else_=1)).label("running"),
            func.sum(case((_HAS_ENDED, 1), else_=0)).label("ended"),
            func.sum(
                case((and_(_HAS_ENDED, enrollments.c.outcome.in_(SUCCESSES)), 1), else_=0)
            ).label("successes"),
        )
        .where(own)
        .group_by(enrollments.c.campaign)
        .subquery()
    )
    is_held = exists().where(
        hold_rows.c.kind == HoldKind.CAMPAIGN,
        hold_rows.c.target == campaigns.c.slug,
        holds.is_set(now),
    )
    found: Select[Any] = (
        select(
            campaigns.c.slug,
            campaigns.c.name,
            campaigns.c.category,
            campaigns.c.archived_at,
            is_held.label("is_held"),
            *(
                func.coalesce(totals.c[name], 0).label(name)
                for name in ("enrolled", "running", "ended", "successes")
            ),
        )
        .outerjoin(totals, totals.c.campaign == campaigns.c.slug)
        .where(_is_archived(wanted.is_archived), *_holding(wanted.text))
        .order_by(_has_none, _category, campaigns.c.name, campaigns.c.slug)
        .limit(PAGE + 1)
    )
    rows: Sequence[Row[Any]] = (await tx.execute(_after(found, wanted.after))).all()
    return rows


async def count(tx: AsyncConnection, text: str, *, is_archived: bool) -> int:
    """How many campaigns a search finds, among those in use or those that are not."""
    wanted = select(func.count()).select_from(campaigns)
    wanted = wanted.where(_is_archived(is_archived), *_holding(text))
    return int((await tx.execute(wanted)).scalar_one())


async def one(tx: AsyncConnection, slug: str) -> Row[Any] | None:
    """A campaign with its newest version, when that was first stored, and how many there are."""
    every = campaign_versions.alias()
    number = select(func.count()).where(every.c.slug == campaigns.c.slug).scalar_subquery()
    wanted = (
        select(
            campaigns,
            campaign_versions.c.version,
            campaign_versions.c.created_at.label("version_at"),
            number.label("versions"),
        )
        .outerjoin(campaign_versions, campaign_versions.c.slug == campaigns.c.slug)
        .where(campaigns.c.slug == slug)
        .order_by(campaign_versions.c.used_at.desc())
        .limit(1)
    )
    return (await tx.execute(wanted)).one_or_none()


async def standings(tx: AsyncConnection, own: ColumnElement[bool], slug: str) -> Sequence[Row[Any]]:
    """How many of a campaign's enrollments are in each state, ended ones by their outcome."""
    outcome = case((_HAS_ENDED, enrollments.c.outcome), else_=None)
    wanted = (
        select(enrollments.c.state, outcome.label("outcome"), func.count().label("number"))
        .where(enrollments.c.campaign == slug, own)
        .group_by(enrollments.c.state, outcome)
    )
    return (await tx.execute(wanted)).all()


async def holds_of(tx: AsyncConnection, slug: str, now: datetime) -> Sequence[Row[Any]]:
    """What holds a campaign, oldest first, with the name of who set it where it is known."""
    wanted: Select[Any] = (
        select(
            hold_rows.c.set_at,
            hold_rows.c.until,
            hold_rows.c.reason,
            func.coalesce(users.c.name, reps.c.name).label("by"),
        )
        .outerjoin(users, users.c.id == hold_rows.c.who)
        .outerjoin(reps, reps.c.id == hold_rows.c.who)
        .where(hold_rows.c.kind == HoldKind.CAMPAIGN, hold_rows.c.target == slug, holds.is_set(now))
        .order_by(hold_rows.c.set_at)
    )
    rows: Sequence[Row[Any]] = (await tx.execute(wanted)).all()
    return rows


def _is_archived(yes: bool) -> ColumnElement[bool]:
    return campaigns.c.archived_at.is_not(None) if yes else campaigns.c.archived_at.is_(None)


def _holding(text: str) -> list[ColumnElement[bool]]:
    if not text:
        return []
    columns = (campaigns.c.name, campaigns.c.category, campaigns.c.slug)
    return [or_(*(column.icontains(text, autoescape=True) for column in columns))]


def _after(found: Select[Any], slug: str | None) -> Select[Any]:
    if slug is None:
        return found
    last = campaigns.alias()

    def of_last(column: Any) -> Any:
        return select(column).where(last.c.slug == slug).scalar_subquery()

    has_none = of_last(case((last.c.category.is_(None), 1), else_=0))
    category = of_last(func.coalesce(last.c.category, ""))
    name = of_last(last.c.name)
    is_same = and_(_has_none == has_none, _category == category)
    return found.where(
        or_(
            _has_none > has_none,
            and_(_has_none == has_none, _category > category),
            and_(is_same, campaigns.c.name > name),
            and_(is_same, campaigns.c.name == name, campaigns.c.slug > slug),
        )
    )
