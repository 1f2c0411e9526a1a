"""People and where each stands, as the People page lists them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, True_, and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.store.lists.searching import is_named
from drumbeat.store.schema import campaigns, enrollments, people, reps

PAGE = 50
_FEW = 1000


def wanted_enrollments(
    own: ColumnElement[bool],
    *,
    campaign: str | None = None,
    state: str | None = None,
    reason: str | None = None,
    rep: str | None = None,
    step: int | None = None,
    outcome: str | None = None,
) -> ColumnElement[bool]:
    """Which rows of `enrollments` the filters mean."""
    parts = [own]
    if campaign:
        parts.append(enrollments.c.campaign == campaign)
    if state:
        parts.append(enrollments.c.state == state)
    if reason:
        parts.append(enrollments.c.reason == reason)
    if rep:
        parts.append(enrollments.c.rep_id == rep)
    if step is not None:
        # Before the first is reached, it is the one that is waited for.
        here = func.coalesce(func.nullif(enrollments.c.step, 0), 1)
        parts += [enrollments.c.ended_at.is_(None), here == step]
    if outcome:
        parts.append(enrollments.c.outcome == outcome)
    return and_(*parts)


async def page(
    tx: AsyncConnection,
    own: ColumnElement[bool],
    which: ColumnElement[bool] | None,
    *,
    search: str | None = None,
    after: str | None = None,
) -> Sequence[Row[Any]]:
    """One page of people, by address.

    Args:
        tx: Any transaction.
        own: Which rows of `people` the user may see.
        which: People with an enrollment like this; None: whoever the user may see.
        search: Part of an address, a name or a company.
        after: The last address of the page before.
    """
    wanted: Select[Any] = select(people.c.id, people.c.email, people.c.fields).where(own)
    if which is not None:
        few = await _few(tx, which)
        if few is None:
            wanted = wanted.where(exists().where(enrollments.c.person_id == people.c.id, which))
        else:
            wanted = wanted.where(people.c.id.in_(few))
    if search and isinstance(own, True_):
        return await _searched(tx, wanted, search, after)
    if search:
        wanted = wanted.where(is_named(tx, search))
    if after:
        wanted = wanted.where(people.c.email > after)
    found = await tx.execute(wanted.order_by(people.c.email).limit(PAGE))
    rows: Sequence[Row[Any]] = found.all()
    return rows


async def _searched(
    tx: AsyncConnection, wanted: Select[Any], search: str, after: str | None
) -> Sequence[Row[Any]]:
    """One page of those among everybody whom a search means.

    They come in the order of the index that is searched: what it holds begins with the address.
    """
    order = (people.c.searchable, people.c.id)
    named = wanted.with_only_columns(people.c.id).where(is_named(tx, search))
    if after:
        last = select(people.c.searchable).where(people.c.email == after).scalar_subquery()
        # Where nobody has that address any more, it still begins what stood there.
        named = named.where(people.c.searchable > func.coalesce(last, after))
    else:
        named = named.where(people.c.searchable >= "")
    ids = (await tx.execute(named.order_by(*order).limit(PAGE))).scalars().all()
    shown = wanted.where(people.c.id.in_(ids)).order_by(*order)
    rows: Sequence[Row[Any]] = (await tx.execute(shown)).all()
    return rows


async def _few(tx: AsyncConnection, which: ColumnElement[bool]) -> Sequence[str] | None:
    """The people of enrollments like this, where they are few.

    None: so many that a page of them is soon found among all.
    """
    wanted = select(enrollments.c.person_id).where(which).limit(_FEW + 1)
    ids = (await tx.execute(wanted)).scalars().all()
    return ids if len(ids) <= _FEW else None


async def standings(
    tx: AsyncConnection, which: ColumnElement[bool], ids: Sequence[str]
) -> Sequence[Row[Any]]:
    """The enrollments of people, the running ones first, then the latest."""
    wanted: Select[Any] = (
        select(
            enrollments.c.id,
            enrollments.c.person_id,
            enrollments.c.campaign,
            enrollments.c.state,
            enrollments.c.outcome,
            enrollments.c.step,
            enrollments.c.why,
            enrollments.c.next_at,
            enrollments.c.plan,
            enrollments.c.ended_at,
            campaigns.c.name.label("campaign_name"),
            reps.c.name.label("rep_name"),
        )
        .join(campaigns, campaigns.c.slug == enrollments.c.campaign)
        .join(reps, reps.c.id == enrollments.c.rep_id)
        .where(enrollments.c.person_id.in_(ids), which)
        .order_by(enrollments.c.ended_at.is_not(None), enrollments.c.kickoff.desc())
    )
    rows: Sequence[Row[Any]] = (await tx.execute(wanted)).all()
    return rows
