"""Somebody who enrolls people in tests, and looks at what it left behind."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, Table, func, select, update
from temporalio.client import Client, WorkflowExecutionDescription

from drumbeat.actions import enrolling
from drumbeat.actions.enrolling import Order, Report
from drumbeat.actions.launching import Choices
from drumbeat.campaign.model import Campaign, Day, EmailStep, Send, Settings, TaskStep, Template
from drumbeat.campaign.people import PeopleReading, PersonRow, Rejected
from drumbeat.campaign.states import Outcome, State
from drumbeat.reps import Rep, Reps
from drumbeat.store import keys
from drumbeat.store.engine import Store
from drumbeat.store.schema import enrollments, metadata, people
from tests.actions.desks import alan
from tests.office import grace

CALL = TaskStep(kind="call", subject="Introduce yourself")


def letter(send: Send = Send.CHOOSE, body: str = "<p>Hello {{ first_name }}.</p>") -> EmailStep:
    template = Template(name="intro", subject="Hello", body=body, is_html=True)
    return EmailStep(template=template, send=send)


def campaign(*steps: EmailStep | TaskStep, **settings: object) -> Campaign:
    """With a slug of its own: the tests of a session share a Temporal server."""
    return Campaign(
        slug=f"intro-{secrets.token_hex(4)}",
        name="Introduction",
        settings=Settings.model_validate(settings),
        days=(Day(day=1, steps=steps or (letter(),)),),
    )


def person(name: str, line: int = 2, /, timezone: str | None = None, **fields: str) -> PersonRow:
    return PersonRow(line, f"{name}@example.org", fields, timezone)


def crowd(number: int) -> list[PersonRow]:
    return [person(f"person{one}", one + 2) for one in range(number)]


async def nowhere() -> Client:
    raise AssertionError("nobody should connect to Temporal")


@dataclass(frozen=True, slots=True)
class Clerk:
    """Enrolls for Grace."""

    store: Store
    client: Client
    task_queue: str

    async def connect(self) -> Client:
        return self.client

    async def reps(self) -> Reps:
        async with self.store.write() as tx:
            return Reps([grace(), alan()], await keys.people_key(tx))

    def order(
        self,
        campaign: Campaign,
        *rows: PersonRow,
        rejected: tuple[Rejected, ...] = (),
        rep: Rep | None = None,
        send_at: str | None = "now",
        start: str | None = None,
        again: bool = False,
        also: bool = False,
    ) -> Order:
        first = campaign.step(1)
        is_chosen = isinstance(first, EmailStep) and first.send is Send.CHOOSE
        return Order(
            campaign=campaign,
            attachments={},
            people=PeopleReading(rows, rejected),
            rep=rep or grace(),
            choices=Choices(send_at=send_at if is_chosen else None, start=start),
            again=again,
            also=also,
        )

    async def enroll(self, campaign: Campaign, *rows: PersonRow, **choices: Any) -> Report:
        order = self.order(campaign, *rows, **choices)
        return await enrolling.enroll(
            self.store, self.connect, order, await self.reps(), task_queue=self.task_queue
        )

    async def rows(self, table: Table, **where: object) -> Sequence[Row[Any]]:
        wanted = select(table).filter_by(**where)
        async with self.store.read() as tx:
            return (await tx.execute(wanted)).all()

    async def the(self, table: Table, **where: object) -> Row[Any]:
        (row,) = await self.rows(table, **where)
        return row

    async def counts(self) -> dict[str, int]:
        """How many rows each table has."""
        async with self.store.read() as tx:
            return {
                table.name: (await tx.execute(select(func.count()).select_from(table))).scalar_one()
                for table in metadata.sorted_tables
            }

    async def person(self, name: str) -> Row[Any]:
        return await self.the(people, email=f"{name}@example.org")

    async def enrollment(self, name: str, **where: object) -> Row[Any]:
        return await self.the(enrollments, person_id=(await self.person(name)).id, **where)

    async def describe(self, workflow_id: str) -> WorkflowExecutionDescription:
        return await self.client.get_workflow_handle(workflow_id).describe()

    async def end(self, name: str, outcome: Outcome = Outcome.COMPLETED) -> None:
        """The person's enrollment ends, and so does its workflow."""
        await self._end(await self.enrollment(name, ended_at=None), outcome)

    async def end_all(self, name: str) -> None:
        """The same, for all that the person has."""
        for row in await self.rows(
            enrollments, person_id=(await self.person(name)).id, ended_at=None
        ):
            await self._end(row, Outcome.COMPLETED)

    async def _end(self, row: Row[Any], outcome: Outcome) -> None:
        await self.client.get_workflow_handle(row.workflow_id).terminate()
        async with self.store.write() as tx:
            await tx.execute(
                update(enrollments)
                .where(enrollments.c.id == row.id)
                .values(ended_at=datetime.now(UTC), outcome=outcome, state=State.ENDED)
            )
