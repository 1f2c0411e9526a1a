"""The queries of the Tasks page: the queue in groups, its figures, and what is to come."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Date,
    Integer,
    Row,
    Select,
    String,
    case,
    func,
    literal,
    or_,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign.model import Priority
from drumbeat.campaign.states import State, TaskStatus
from drumbeat.store.lists.searching import everybody_named, holds_words, is_named, people_named
from drumbeat.store.schema import (
    Moment,
    campaigns,
    drafts,
    enrollments,
    events,
    messages,
    people,
    reps,
    tasks,
    texts,
)
from drumbeat.store.tasks import REPLY

AHEAD = timedelta(days=7)
"""How far the page looks."""
MOST_FORECAST = 100
"""Enrollments whose coming tasks are computed: the next ones."""

MOST_PEOPLE = 500
"""People whom a search finds that are named one by one."""
MOST_TASKS = 2000
"""Open tasks that a search finds that are named one by one."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search among everybody's tasks has found before the list is made."""

    people: Sequence[str] | Select[tuple[str]]
    """Their ids; where they are many, the query that gives them."""
    tasks: Sequence[str] | None
    """The ids of the tasks that are not over; None: they are many."""


class View(StrEnum):
    """The tabs of the page."""

    TODO = "todo"
    SCHEDULED = "scheduled"
    DONE = "done"


class Group(IntEnum):
    """The parts of the queue, in order."""

    ANSWER = 0
    OVERDUE = 1
    TODAY = 2
    WEEK = 3
    LATER = 4


@dataclass(frozen=True, slots=True)
class Filters:
    """Which tasks are wanted."""

    view: View = View.TODO
    kind: str = ""
    campaign: str = ""
    """A slug."""
    priority: str = ""
    rep: str = ""
    """A rep's id; empty: everybody's that may be seen."""
    q: str = ""
    """Part of a name, an address, a company or a subject."""


@dataclass(frozen=True, slots=True)
class Figures:
    """How many tasks there are, by what the page counts."""

    rows: tuple[tuple[str, str, Group, int], ...]
    """Status, kind, group, how many."""

    def in_view(self, view: View, kind: str = "") -> int:
        """Open tasks in a tab, of one kind or of all."""
        status = TaskStatus.SCHEDULED if view == View.SCHEDULED else TaskStatus.OPEN
        return sum(n for is_, of, _, n in self.rows if is_ == status and kind in ("", of))

    def in_group(self, group: Group, kind: str = "") -> int:
        """Tasks to do in a group."""
        return sum(
            n
            for is_, of, where, n in self.rows
            if is_ == TaskStatus.OPEN and where is group and kind in ("", of)
        )


async def figures(
    tx: AsyncConnection,
    own: ColumnElement[bool],
    filters: Filters,
    today: date,
    *,
    few: Found | None = None,
) -> Figures:
    """Count open and scheduled tasks under all filters but the kind.

    Args:
        tx: A transaction.
        own: Which tasks may be seen.
        filters: The page's; `view` and `kind` are not looked at.
        today: The reader's date.
        few: What `found` gives.
    """
    group = _group(today)
    wanted = (
        select(tasks.c.status, tasks.c.kind, group.label("part"), func.count())
        .where(
            tasks.c.status.in_((TaskStatus.OPEN, TaskStatus.SCHEDULED)),
            own,
            *_conditions(tx, filters, few, with_kind=False),
        )
        .group_by(tasks.c.status, tasks.c.kind, "part")
    )
    if filters.q and few is None:
        wanted = wanted.join(people, people.c.id == tasks.c.person_id)
    found = (await tx.execute(wanted)).all()
    return Figures(tuple((row[0], row[1], Group(row[2]), row[3]) for row in found))


async def found(tx: AsyncConnection, own: ColumnElement[bool], filters: Filters) -> Found | None:
    """What a search finds, for a list of everybody's tasks.

    To look through people and tasks once is quicker than to do so for figures and list, and to look
    each task's person up. None: nothing is searched, or the tasks are one rep's.
    """
    if not filters.q or filters.rep:
        return None
    ids = await people_named(tx, filters.q, MOST_PEOPLE)
    some = Found(everybody_named(tx, filters.q) if ids is None else ids, None)
    # The bound makes SQLite look through the index, not through the rows.
    matching = select(tasks.c.id).where(
        tasks.c.status.in_((TaskStatus.OPEN, TaskStatus.SCHEDULED)),
        tasks.c.searchable >= "",
        own,
        _matches(tx, filters.q, some),
    )
    of_tasks = (await tx.execute(matching.limit(MOST_TASKS + 1))).scalars().all()
    return replace(some, tasks=of_tasks) if len(of_tasks) <= MOST_TASKS else some


async def page(
    tx: AsyncConnection,
    own: ColumnElement[bool],
    filters: Filters,
    today: date,
    *,
    after: Row[Any] | None = None,
    limit: int,
    few: Found | None = None,
) -> Sequence[Row[Any]]:
    """The tasks of a tab, in the order in which they are worked, or were done.

    Args:
        tx: A transaction.
        own: Which tasks may be seen.
        filters: The page's.
        today: The reader's date.
        after: The task before the first wanted one, open or over; None: from the beginning.
        limit: At most so many.
        few: What `found` gives.
    """
    # The order is found among the tasks alone; the rest is joined to the few that are shown.
    if few is not None and filters.view is View.DONE:
        few = replace(few, tasks=None)
    first = select(tasks.c.id).where(own, *_conditions(tx, filters, few)).limit(limit)
    if filters.q and few is None:
        first = first.join(people, people.c.id == tasks.c.person_id)
    order: tuple[ColumnElement[Any], ...]
    if filters.view is View.DONE:
        first = first.where(tasks.c.closed_at.is_not(None))
        keys = (tasks.c.closed_at, tasks.c.id)
        if after is not None and after.closed_at is not None:
            last = (literal(after.closed_at, Moment()), literal(after.id, String()))
            first = first.where(tuple_(*keys) < tuple_(*last))
        order = tuple(column.desc() for column in keys)
    else:
        status = TaskStatus.SCHEDULED if filters.view is View.SCHEDULED else TaskStatus.OPEN
        first = first.where(tasks.c.status == status)
        order = _order(today)
        if after is not None:
            first = first.where(tuple_(*order) > tuple_(*_place(after, today)))
    shortlist = first.order_by(*order).subquery()
    wanted = shown().where(tasks.c.id.in_(select(shortlist.c.id))).order_by(*order)
    found: Sequence[Row[Any]] = (await tx.execute(wanted)).all()
    return found


def shown() -> Select[Any]:
    """A task with what its row and its pane show: the person, the rep, the enrollment."""
    closer = reps.alias("closer")
    return (
        select(
            tasks,
            people.c.email.label("person"),
            people.c.fields.label("fields"),
            people.c.timezone.label("person_zone"),
            reps.c.email.label("rep"),
            reps.c.name.label("rep_name"),
            reps.c.timezone.label("rep_zone"),
            enrollments.c.plan,
            enrollments.c.standing,
            enrollments.c.version,
            enrollments.c.rep_id.label("sender_id"),
            enrollments.c.ended_at,
            campaigns.c.name.label("campaign_name"),
            closer.c.name.label("closer_name"),
            texts.c.text.label("note"),
        )
        .join(people, people.c.id == tasks.c.person_id)
        .join(reps, reps.c.id == tasks.c.rep_id)
        .outerjoin(enrollments, enrollments.c.id == tasks.c.enrollment_id)
        .outerjoin(campaigns, campaigns.c.slug == tasks.c.campaign)
        .outerjoin(closer, closer.c.id == tasks.c.closed_by)
        .outerjoin(texts, texts.c.id == tasks.c.text_id)
    )


async def one(tx: AsyncConnection, own: ColumnElement[bool], task_id: str) -> Row[Any] | None:
    """A task with the columns of `shown`; None: there is none, or it may not be seen."""
    found = await tx.execute(shown().where(tasks.c.id == task_id, own))
    row: Row[Any] | None = found.one_or_none()
    return row


async def before(tx: AsyncConnection, person_id: str, limit: int) -> Sequence[Row[Any]]:
    """What happened with a person last, newest first."""
    wanted = (
        select(events, enrollments.c.version, reps.c.name.label("who_name"))
        .outerjoin(enrollments, enrollments.c.id == events.c.enrollment_id)
        .outerjoin(reps, reps.c.id == events.c.who)
        .where(events.c.person_id == person_id)
        .order_by(events.c.at.desc(), events.c.id.desc())
        .limit(limit)
    )
    return (await tx.execute(wanted)).all()


async def coming(
    tx: AsyncConnection,
    own: ColumnElement[bool],
    filters: Filters,
    until: datetime,
    *,
    few: Found | None = None,
) -> Sequence[Row[Any]]:
    """Enrollments that go on by themselves before a moment, the next ones: their tasks may open.

    Args:
        tx: A transaction.
        own: Which enrollments may be seen.
        filters: The page's; kind and priority are known of the steps alone.
        until: UTC.
        few: What `found` gives.
    """
    wanted = (
        select(
            enrollments,
            campaigns.c.name.label("campaign_name"),
            people.c.email.label("person"),
            people.c.fields.label("fields"),
            reps.c.timezone.label("rep_zone"),
        )
        .join(people, people.c.id == enrollments.c.person_id)
        .join(reps, reps.c.id == enrollments.c.rep_id)
        .join(campaigns, campaigns.c.slug == enrollments.c.campaign)
        .where(
            own,
            enrollments.c.ended_at.is_(None),
            enrollments.c.state.in_((State.SLEEPING, State.SENDING)),
            enrollments.c.next_at <= until,
        )
        .order_by(enrollments.c.next_at, enrollments.c.id)
        .limit(MOST_FORECAST)
    )
    if filters.rep:
        wanted = wanted.where(enrollments.c.rep_id == filters.rep)
    if filters.campaign:
        wanted = wanted.where(enrollments.c.campaign == filters.campaign)
    if filters.q:
        wanted = wanted.where(
            is_named(tx, filters.q) if few is None else enrollments.c.person_id.in_(few.people)
        )
    return (await tx.execute(wanted)).all()


async def newest_draft(tx: AsyncConnection, enrollment_id: str, step: int) -> Row[Any] | None:
    """The text that a rep wrote last for an email; None: nobody has."""
    wanted = (
        select(drafts)
        .where(drafts.c.enrollment_id == enrollment_id, drafts.c.step == step)
        .order_by(drafts.c.at.desc(), drafts.c.id)
        .limit(1)
    )
    row: Row[Any] | None = (await tx.execute(wanted)).one_or_none()
    return row


async def last_sent(tx: AsyncConnection, enrollment_id: str, before: int) -> datetime | None:
    """When the last email before a step left; None: none has."""
    wanted = (
        select(messages.c.sent_at)
        .where(
            messages.c.enrollment_id == enrollment_id,
            messages.c.step < before,
            messages.c.sent_at.is_not(None),
        )
        .order_by(messages.c.step.desc())
        .limit(1)
    )
    at: datetime | None = (await tx.execute(wanted)).scalar_one_or_none()
    return at


def _conditions(
    tx: AsyncConnection,
    filters: Filters,
    few: Found | None,
    *,
    with_kind: bool = True,
) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if filters.rep:
        wanted.append(tasks.c.rep_id == filters.rep)
    if filters.kind and with_kind:
        wanted.append(tasks.c.kind == filters.kind)
    if filters.campaign:
        wanted.append(tasks.c.campaign == filters.campaign)
    if filters.priority:
        wanted.append(tasks.c.priority == filters.priority)
    if filters.q:
        wanted.append(_matches(tx, filters.q, few))
    return wanted


def _matches(tx: AsyncConnection, q: str, few: Found | None) -> ColumnElement[bool]:
    """Whether a task's subject, or its person, holds each word of a text."""
    if few is not None and few.tasks is not None:
        return tasks.c.id.in_(few.tasks)
    in_subject = holds_words(tx, tasks.c.searchable, q)
    return or_(in_subject, is_named(tx, q) if few is None else tasks.c.person_id.in_(few.people))


def group_of(task: Row[Any], today: date) -> Group:
    """In which part of the queue a task lies."""
    if task.kind == REPLY:
        return Group.ANSWER
    if task.due < today:
        return Group.OVERDUE
    if task.due == today:
        return Group.TODAY
    return Group.WEEK if task.due <= today + AHEAD else Group.LATER


def _group(today: date) -> ColumnElement[int]:
    return case(
        (tasks.c.kind == REPLY, Group.ANSWER.value),
        (tasks.c.due < today, Group.OVERDUE.value),
        (tasks.c.due == today, Group.TODAY.value),
        (tasks.c.due <= today + AHEAD, Group.WEEK.value),
        else_=Group.LATER.value,
    )


def _order(today: date) -> tuple[ColumnElement[Any], ...]:
    """Replies to answer, then by due date in groups: high priority, oldest, campaign order."""
    return (
        _group(today),
        case((tasks.c.priority == Priority.HIGH, 0), else_=1),
        tasks.c.due,
        func.coalesce(tasks.c.campaign, ""),
        func.coalesce(tasks.c.step, 0),
        tasks.c.opened_at,
        tasks.c.id,
    )


def _place(task: Row[Any], today: date) -> tuple[ColumnElement[Any], ...]:
    """Where a task lies in that order, also one that is over."""
    return (
        literal(group_of(task, today).value, Integer()),
        literal(0 if task.priority == Priority.HIGH else 1, Integer()),
        literal(task.due, Date()),
        literal(task.campaign or "", String()),
        literal(task.step or 0, Integer()),
        literal(task.opened_at, Moment()),
        literal(task.id, String()),
    )
