"""Who may see and change what: the one place that decides, for pages, calls and events alike.

A rep works their own people: those they enrolled, and those whose task was handed to them. Managers
and admins see every rep's work. What somebody may not see does not exist for them.
"""

from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Row, or_, select, true, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.actions.signing import User
from drumbeat.store.schema import enrollments, events, messages, people, tasks
from drumbeat.store.users import Role


class Forbidden(ActionError):
    """The user's role does not reach so far."""


def require(user: User, role: Role) -> None:
    """Refuse whoever may not do what a role may.

    Raises:
        Forbidden: It names the role that is needed.
    """
    if not user.may_as(role):
        raise Forbidden(f"only a {role} can do this")


def own_enrollments(user: User) -> ColumnElement[bool]:
    """Which rows of `enrollments` a user may see."""
    return true() if user.may_as(Role.MANAGER) else enrollments.c.id.in_(_worked_by(user))


def own_messages(user: User) -> ColumnElement[bool]:
    """Which rows of `messages` a user may see: those of the enrollments that they may see."""
    if user.may_as(Role.MANAGER):
        return true()
    return messages.c.enrollment_id.in_(_worked_by(user))


def own_events(user: User) -> ColumnElement[bool]:
    """Which rows of `events` a user may see: those of the enrollments that they may see."""
    return true() if user.may_as(Role.MANAGER) else events.c.enrollment_id.in_(_worked_by(user))


def own_tasks(user: User) -> ColumnElement[bool]:
    """Which rows of `tasks` a user may see."""
    if user.may_as(Role.MANAGER):
        return true()
    mine = select(enrollments.c.id).where(enrollments.c.rep_id == user.id)
    return or_(tasks.c.rep_id == user.id, tasks.c.enrollment_id.in_(mine))


def own_people(user: User) -> ColumnElement[bool]:
    """Which rows of `people` a user may see."""
    if user.may_as(Role.MANAGER):
        return true()
    enrolled = select(enrollments.c.person_id).where(enrollments.c.rep_id == user.id)
    handed = select(tasks.c.person_id).where(tasks.c.rep_id == user.id)
    return people.c.id.in_(union_all(enrolled, handed))


def _worked_by(user: User) -> CompoundSelect[tuple[str]]:
    """The ids of the enrollments whose rep a user is, or of which a task was handed to the user.

    One list, which both databases make once; with OR they look through all rows instead.
    """
    mine = select(enrollments.c.id).where(enrollments.c.rep_id == user.id)
    handed = select(tasks.c.enrollment_id).where(
        tasks.c.rep_id == user.id, tasks.c.enrollment_id.is_not(None)
    )
    return union_all(mine, handed)


def sees(user: User, rep_id: str | None) -> bool:
    """Whether a user sees what happens to the people of a rep."""
    return user.may_as(Role.MANAGER) or rep_id == user.id


async def enrollment(tx: AsyncConnection, user: User, enrollment_id: str) -> Row[Any]:
    """An enrollment that the user may see.

    Raises:
        NotFound: There is none, or it is somebody else's.
    """
    wanted = select(enrollments).where(enrollments.c.id == enrollment_id, own_enrollments(user))
    return _found((await tx.execute(wanted)).one_or_none(), "enrollment")


async def task(tx: AsyncConnection, user: User, task_id: str) -> Row[Any]:
    """A task that the user may see.

    Raises:
        NotFound: There is none, or it is somebody else's.
    """
    wanted = select(tasks).where(tasks.c.id == task_id, own_tasks(user))
    return _found((await tx.execute(wanted)).one_or_none(), "task")


async def person(tx: AsyncConnection, user: User, person_id: str) -> Row[Any]:
    """A person whom the user may see.

    Raises:
        NotFound: There is none, or it is somebody else's.
    """
    wanted = select(people).where(people.c.id == person_id, own_people(user))
    return _found((await tx.execute(wanted)).one_or_none(), "person")


def _found(row: Row[Any] | None, what: str) -> Row[Any]:
    if row is None:
        raise NotFound(f"there is no such {what}")
    return row
