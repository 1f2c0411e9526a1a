"""From where somebody acts: the tables, the way to the workflows, and who it is."""

import re
import secrets
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import Row, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.client import Client

from drumbeat.actions import asking
from drumbeat.actions.asking import Answer
from drumbeat.actions.errors import ActionError
from drumbeat.campaign.states import TaskStatus
from drumbeat.store import users
from drumbeat.store.engine import Store
from drumbeat.store.schema import enrollments, reps, tasks, texts
from drumbeat.store.schema import users as user_rows
from workflows.messages import Message

_REP_ID = re.compile(r"\br[0-9a-f]{12}\b")


class WorkflowIdRow(Protocol):
    """What is asked: a row with the enrollment's id and its workflow's."""

    @property
    def id(self) -> str:
        """The enrollment's."""

    @property
    def workflow_id(self) -> str:
        """Its workflow's."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What every action of a rep or a manager needs."""

    store: Store
    connect: Callable[[], Awaitable[Client]]
    """Opens the connection to Temporal, or gives the open one: many actions need none."""
    acting: str | None = None
    """The address of who acts, a rep or a user; None: the rep of the enrollment, or of the task."""

    async def who(self, tx: AsyncConnection, default: str | None) -> str | None:
        """The id of who acts: a rep, or a user who is none, such as a manager.

        Raises:
            ActionError: Nobody has the address that was given.
        """
        if self.acting is None:
            return default
        user = await users.find(tx, self.acting)
        # A rep's user has the rep's id.
        return str((await rep_of(tx, self.acting)).id if user is None else user.id)

    async def ask(
        self,
        enrollment: WorkflowIdRow,
        update: str,
        message: Message,
        *,
        step: int | None = None,
        is_signal_too: bool = False,
    ) -> Answer:
        """Ask an enrollment's workflow; a refusal names people, not ids.

        Args:
            enrollment: Its row.
            update: The update's name.
            message: What it says.
            step: The step whose task it is about: who was faster is told of it.
            is_signal_too: There is a signal of the same name and meaning, which Temporal keeps
                where no worker is there to take the update.

        Raises:
            ActionError: It cannot be carried out; the text says why.
        """
        client = await self.connect()
        try:
            return await asking.ask(client, enrollment.workflow_id, update, message)
        except asking.NobodyAnswered:
            if not is_signal_too:
                raise
            await asking.signal(client, enrollment.workflow_id, update, message)
            return Answer.NOT_YET_SHOWN
        except (asking.Refused, asking.NotRunning) as refused:
            async with self.store.read() as tx:
                await _tell_how_it_ended(tx, enrollment.id, step)
                raise ActionError(await with_names(tx, str(refused))) from None


async def rep_of(tx: AsyncConnection, address: str) -> Row[Any]:
    """The rep with an address.

    Raises:
        ActionError: There is none.
    """
    found = await tx.execute(select(reps).where(reps.c.email == address.strip().lower()))
    row = found.one_or_none()
    if row is None:
        raise ActionError(f"no rep has the address {address.strip()}: see the reps file")
    return row


async def name_of(tx: AsyncConnection, rep_id: str | None) -> str:
    """The name of a rep or a user, for sentences; "Drumbeat" where nobody acted."""
    if rep_id is None:
        return "Drumbeat"
    return (await _names(tx, {rep_id})).get(rep_id, rep_id)


async def with_names(tx: AsyncConnection, text: str) -> str:
    """A workflow's text, which holds ids only, with the reps' names in their place."""
    ids = set(_REP_ID.findall(text))
    if not ids:
        return text
    names = await _names(tx, ids)
    return _REP_ID.sub(lambda match: names.get(match[0], match[0]), text)


async def _names(tx: AsyncConnection, ids: Collection[str]) -> dict[str, str]:
    """Id -> name, of those whom the tables know as reps or as users."""
    names: dict[str, str] = {}
    for table in (user_rows, reps):
        found = await tx.execute(select(table.c.id, table.c.name).where(table.c.id.in_(ids)))
        names |= {row.id: row.name for row in found}
    return names


async def keep_text(
    tx: AsyncConnection,
    text: str | None,
    who: str | None,
    now: datetime,
    *,
    keep_blank: bool = False,
) -> str | None:
    """Keep a note or a reason, which travels through Temporal as an id; None and blank: no text.

    With `keep_blank` a blank text is kept too: it takes the place of one that was there.
    """
    if text is None or not (keep_blank or text.strip()):
        return None
    text_id = f"x{secrets.token_hex(8)}"
    await tx.execute(insert(texts).values(id=text_id, text=text.strip(), who=who, at=now))
    return text_id


def moment(at: datetime, *zones: ZoneInfo | None) -> str:
    """A moment as people read it, in each of the zones once, UTC where none is given.

    >>> from datetime import UTC
    >>> moment(datetime(2026, 11, 24, 14, 30, tzinfo=UTC), ZoneInfo("America/New_York"))
    'Tue 24 Nov 2026, 09:30 America/New_York'
    """
    known = list(dict.fromkeys(zone for zone in zones if zone is not None)) or [ZoneInfo("UTC")]
    first, *others = (at.astimezone(zone) for zone in known)
    text = f"{first:%a %d %b %Y, %H:%M} {known[0].key}"
    for zone, local in zip(known[1:], others, strict=True):
        date = "" if local.date() == first.date() else f"{local:%a %d %b}, "
        text += f" ({date}{local:%H:%M} {zone.key})"
    return text


async def _tell_how_it_ended(tx: AsyncConnection, enrollment_id: str, step: int | None) -> None:
    """Raise what the tables know of a task, or of an enrollment, that is over meanwhile."""
    if step is not None:
        found = await tx.execute(
            select(tasks).where(tasks.c.enrollment_id == enrollment_id, tasks.c.step == step)
        )
        task = found.one_or_none()
        if task is not None:
            await refuse_if_over(tx, task)
    wanted = select(enrollments.c.outcome, enrollments.c.ended_at, enrollments.c.id).where(
        enrollments.c.id == enrollment_id
    )
    enrollment = (await tx.execute(wanted)).one_or_none()
    if enrollment is not None and enrollment.ended_at is not None:
        how = str(enrollment.outcome).replace("_", " ")
        raise ActionError(f"the enrollment has ended: {how}, {moment(enrollment.ended_at)}")


async def refuse_if_over(tx: AsyncConnection, task: Row[Any]) -> None:
    """Refuse what can be done to an open task only; say who was faster, and when.

    Raises:
        ActionError: The task is over.
    """
    if task.status in (TaskStatus.OPEN, TaskStatus.SCHEDULED):
        return
    found = await tx.execute(select(reps.c.timezone).where(reps.c.id == task.rep_id))
    zone = found.scalar_one_or_none()
    by = f" by {await name_of(tx, task.closed_by)}" if task.closed_by else ""
    at = f", {moment(task.closed_at, ZoneInfo(zone) if zone else None)}" if task.closed_at else ""
    raise ActionError(f"task {task.id} is over: {task.status}{by}{at}")
