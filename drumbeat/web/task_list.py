"""What the Tasks page reads for whoever asks: filters from the address, list, pane, forecast."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.actions import access
from drumbeat.actions.errors import NotFound
from drumbeat.actions.signing import User
from drumbeat.campaign.model import Campaign, Priority
from drumbeat.store import campaigns
from drumbeat.store.lists import tasks as lists
from drumbeat.store.lists.tasks import Figures, Filters, Group, View, group_of
from drumbeat.store.users import Role
from drumbeat.web.site import Site
from drumbeat.web.task_rows import (
    KINDS_SHOWN,
    Pane,
    Reader,
    TaskRow,
    forecast_rows,
    pane_of,
    row_of,
)

PAGE = 50
"""Rows of one page."""
MOST_FORECAST = 50
LAST = 5
"""Things that happened before, in the pane."""
EVERYBODY = "all"
LONGEST_SEARCH = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an address of the page asks for."""

    filters: Filters
    everybody: bool = False
    """Whether a manager wants to see every rep's tasks."""
    own_rep: str = ""
    after: str = ""
    """The id of the task before the first one."""
    task: str = ""
    """The id of the task in the pane."""

    def query(self, **changes: str) -> str:
        """The address's query with some parts changed; without what is the default."""
        filters = self.filters
        given = asdict(filters) | {"after": self.after, "task": self.task}
        given["view"] = "" if filters.view is View.TODO else filters.view.value
        is_own = filters.rep == self.own_rep and not self.everybody
        given["rep"] = "" if is_own else filters.rep
        if self.everybody:
            given["rep"] = EVERYBODY if self.own_rep else ""
        return urlencode({name: value for name, value in (given | changes).items() if value})

    def to(self, **changes: str) -> str:
        """The address with some parts changed; another list begins at its beginning."""
        if not changes.keys() <= {"task"}:
            changes = {"after": "", "task": ""} | changes
        query = self.query(**changes)
        return f"/tasks?{query}" if query else "/tasks"

    @property
    def narrows(self) -> bool:
        """Whether filters hide some of the reader's tasks."""
        filters = self.filters
        return bool(filters.kind or filters.campaign or filters.priority or filters.q)


def wanted_of(values: Mapping[str, str], user: User, site: Site) -> Wanted:
    """Read the address's parameters; what means nothing is left out."""

    def one_of(name: str, known: Sequence[str]) -> str:
        return values[name] if values.get(name) in known else ""

    own_rep = user.id if site.reps.by_id(user.id) is not None else ""
    rep, everybody = user.id, False
    if user.may_as(Role.MANAGER):
        rep = values.get("rep", "")
        everybody = rep == EVERYBODY or (not rep and not own_rep)
        rep = "" if everybody else rep or own_rep
    filters = Filters(
        view=View(one_of("view", list(View)) or View.TODO),
        kind=one_of("kind", KINDS_SHOWN),
        campaign=values.get("campaign", "")[:LONGEST_SEARCH],
        priority=one_of("priority", list(Priority)),
        rep=rep[:64],
        q=" ".join(values.get("q", "").split())[:LONGEST_SEARCH],
    )
    return Wanted(
        filters,
        everybody=everybody,
        own_rep=own_rep if user.may_as(Role.MANAGER) else user.id,
        after=values.get("after", "")[:64],
        task=values.get("task", "")[:64],
    )


@dataclass(frozen=True, slots=True)
class Part:
    """A group of the list."""

    name: str
    count: int
    rows: Sequence[TaskRow]
    forecast: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything on the page."""

    wanted: Wanted
    reader: Reader
    figures: Figures
    parts: Sequence[Part]
    pane: Pane | None
    after: str
    """The id of the last task, where more follow."""
    is_asked: bool
    """Whether the pane's task was chosen, not only the first."""

    @property
    def campaign_name(self) -> str:
        """The campaign of the filter, by its name where the list shows one of its tasks."""
        names = (row.campaign for part in self.parts for row in part.rows)
        return next(names, "") or self.wanted.filters.campaign

    @property
    def is_empty(self) -> bool:
        """Whether the list shows nothing."""
        return not any(part.rows for part in self.parts)


async def reader_of(tx: AsyncConnection, site: Site, user: User) -> Reader:
    """Who reads, with the zone of the reps file."""
    rep = site.reps.by_id(user.id)
    zone = ZoneInfo(rep.timezone) if rep is not None and rep.timezone else ZoneInfo("UTC")
    return Reader(zone, await site.store.now(tx))


async def read_list(
    site: Site, user: User, wanted: Wanted, *, next_after: Row[Any] | None = None
) -> Listing:
    """Read the page.

    Args:
        site: The site.
        user: Who reads.
        wanted: What the address asks for.
        next_after: A task that was just worked: the pane shows the one that follows it.

    Raises:
        NotFound: The task of the pane is none, or somebody else's.
    """
    own, filters = access.own_tasks(user), wanted.filters
    async with site.store.read() as tx:
        reader = await reader_of(tx, site, user)
        today = reader.today
        few = await lists.found(tx, own, filters)
        figures = await lists.figures(tx, own, filters, today, few=few)
        after = await lists.one(tx, own, wanted.after) if wanted.after else None
        found = await lists.page(tx, own, filters, today, after=after, limit=PAGE + 1, few=few)
        rows, has_more = found[:PAGE], len(found) > PAGE
        chosen = await _chosen(tx, own, wanted, rows, reader, next_after)
        pane = await _pane(tx, chosen, reader) if chosen is not None else None
        coming: list[TaskRow] = []
        if filters.view is View.TODO and not _stops_before_later(rows, reader, has_more=has_more):
            coming = await _coming(tx, user, filters, reader, few)
    return Listing(
        wanted=wanted if chosen is None else replace(wanted, task=chosen.id),
        reader=reader,
        figures=figures,
        parts=_parts(rows, coming, filters, figures, reader),
        pane=pane,
        after=rows[-1].id if has_more else "",
        is_asked=bool(wanted.task) or next_after is not None,
    )


async def read_pane(site: Site, user: User, task_id: str) -> tuple[Pane, Reader]:
    """Read one task for the pane.

    Raises:
        NotFound: There is none, or it is somebody else's.
    """
    async with site.store.read() as tx:
        reader = await reader_of(tx, site, user)
        task = await lists.one(tx, access.own_tasks(user), task_id)
        if task is None:
            raise NotFound("there is no such task")
        return await _pane(tx, task, reader), reader


async def _chosen(
    tx: AsyncConnection,
    own: Any,
    wanted: Wanted,
    rows: Sequence[Row[Any]],
    reader: Reader,
    next_after: Row[Any] | None,
) -> Row[Any] | None:
    """The pane's task: the one asked for, the one that comes next, else the first."""
    if next_after is not None:
        is_over = wanted.filters.view is View.DONE
        place = None if is_over else next_after
        following = await lists.page(tx, own, wanted.filters, reader.today, after=place, limit=1)
        return following[0] if following else rows[0] if rows else None
    if not wanted.task:
        return rows[0] if rows else None
    for row in rows:
        if row.id == wanted.task:
            return row
    task = await lists.one(tx, own, wanted.task)
    if task is None:
        raise NotFound("there is no such task")
    return task


async def _pane(tx: AsyncConnection, task: Row[Any], reader: Reader) -> Pane:
    happened = await lists.before(tx, task.person_id, 4 * LAST)
    campaign = await campaigns.load(tx, task.version) if task.version else None
    pane = pane_of(task, reader, happened, campaign)
    return replace(pane, before=pane.before[:LAST])


def _stops_before_later(rows: Sequence[Row[Any]], reader: Reader, *, has_more: bool) -> bool:
    """Whether what comes in the next days stands on another page."""
    if not has_more:
        return False
    return group_of(rows[-1], reader.today) is not Group.LATER


async def _coming(
    tx: AsyncConnection,
    user: User,
    filters: Filters,
    reader: Reader,
    few: lists.Found | None,
) -> list[TaskRow]:
    """The forecast tasks of the next days."""
    last_day = reader.now.astimezone(reader.zone).replace(hour=23, minute=59, second=59)
    until = (last_day + lists.AHEAD).astimezone(UTC)
    found = await lists.coming(tx, access.own_enrollments(user), filters, until, few=few)
    versions: dict[str, Campaign] = {}
    for version in {row.version for row in found}:
        versions[version] = await campaigns.load(tx, version)
    return forecast_rows(
        found,
        versions,
        until,
        kind=filters.kind,
        priority=filters.priority,
        most=MOST_FORECAST,
    )


def _parts(
    rows: Sequence[Row[Any]],
    coming: Sequence[TaskRow],
    filters: Filters,
    figures: Figures,
    reader: Reader,
) -> list[Part]:
    if filters.view is not View.TODO:
        return [Part("", 0, [row_of(row, reader) for row in rows])] if rows else []
    parts = []
    for group in Group:
        inside = [row_of(row, reader) for row in rows if group_of(row, reader.today) is group]
        forecast = list(coming) if group is Group.WEEK else []
        if inside or forecast:
            count = figures.in_group(group, filters.kind)
            parts.append(Part(group.name.lower(), count, inside + forecast, len(forecast)))
    return parts


def days_from(reader: Reader) -> dict[str, str]:
    """Days to which one snoozes: tomorrow, in two days, next Monday; ISO dates."""
    today = reader.today
    monday = today + timedelta(days=7 - today.weekday())
    return {
        "tomorrow": (today + timedelta(days=1)).isoformat(),
        "in_two_days": (today + timedelta(days=2)).isoformat(),
        "next_monday": monday.isoformat(),
    }
