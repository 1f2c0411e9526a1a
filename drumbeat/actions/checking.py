"""Compare the tables with the workflows, and mend the tables (SPEC section 12).

The workflows are right: where an enrollment stands is theirs to say. Whatever is still on its way
is no difference, so that each one found is looked at again before it counts.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, select
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from drumbeat.actions import rebuilding
from drumbeat.actions.desk import Desk
from drumbeat.actions.errors import ActionError
from drumbeat.actions.starting import MEMO
from drumbeat.actions.telling import Told, unconfirmed
from drumbeat.campaign.states import Outcome, State
from drumbeat.store import audit, restoring, suppressions
from drumbeat.store import enrollments as enrollments_table
from drumbeat.store import outbox as outbox_table
from drumbeat.store.enrollments import START, START_AFTER
from drumbeat.store.schema import enrollments, events, outbox, people
from workflows.messages import WORKFLOW_TYPE, CampaignResult, Progress

AT_ONCE = 20
"""Workflows asked at the same time: each question may replay one."""
LISTED_AT_ONCE = 100
"""The server of `up` reads the search attributes anew for each row, and bounds its reads a second:
pages of 1,000 are refused by it again and again."""
LOOKS = 4
BETWEEN_LOOKS = timedelta(milliseconds=400)
TOLERANCE = timedelta(seconds=2)
"""By how much two clocks may differ on when something happens next."""
JUST_ENDED = timedelta(minutes=1)
"""For so long a workflow may run on after its enrollment has ended: it is about to close."""
QUERY_TIMEOUT = timedelta(seconds=10)
START_PATIENCE = timedelta(seconds=10)
UNANSWERED_AT_MOST = 5
"""Where that many questions are not answered, and none is, no worker runs."""


class Kind(StrEnum):
    """What can be different."""

    NOT_STARTED = "not_started"
    """The workflow was never started."""
    MISSING = "missing"
    """Temporal does not know the workflow, though it was started."""
    TAKEN = "taken"
    """A workflow of that id runs for a later enrollment, which the tables do not know."""
    CLOSED = "closed"
    """The workflow is over; in the tables it runs."""
    BEHIND = "behind"
    """The tables say other than the workflow."""
    RUNS_ON = "runs_on"
    """The enrollment has ended in the tables; its workflow runs."""
    UNANSWERED = "unanswered"
    """The workflow does not say where it stands."""
    UNKNOWN = "unknown"
    """A workflow runs whose enrollment the tables do not know."""
    UNKNOWN_CLOSED = "unknown_closed"
    """A workflow is over whose enrollment the tables do not know."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference, and what became of it."""

    kind: Kind
    workflow_id: str
    enrollment: str | None
    campaign: str | None
    person: str | None
    """The address, where the tables know it."""
    tables: str
    """What the tables say."""
    workflow: str
    """What the workflow says."""
    mended: bool
    """Whether nothing is wrong any more."""
    text: str
    """What was done, or is to be done."""


class Mailboxes(StrEnum):
    """How the mailboxes stand that wait after a database was restored."""

    FREE = "free"
    """None waits for that reason."""
    RELEASED = "released"
    """All is well again: they were released now."""
    HELD = "held"
    """They wait until nothing is left wrong."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a whole check has found."""

    checked: int
    """Enrollments that had not ended by the tables."""
    differences: Sequence[Difference]
    mailboxes: Mailboxes = Mailboxes.FREE

    @property
    def left(self) -> int:
        """How many differences are still there."""
        return sum(not difference.mended for difference in self.differences)


async def check(desk: Desk, task_queue: str) -> Report:
    """Compare everything that runs, and mend the tables.

    Args:
        desk: From where it is done.
        task_queue: The worker's, for workflows that have to be started again.

    Raises:
        ActionError: No worker answers for the workflows.
        TemporalUnreachable: Temporal does not answer.
    """
    client = await desk.connect()
    return await _Check(desk, client, task_queue).run()


class _Check:
    """One check."""

    def __init__(self, desk: Desk, client: Client, task_queue: str) -> None:
        self._desk = desk
        self._store = desk.store
        self._client = client
        self._task_queue = task_queue
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._answered = 0
        self._unanswered = 0

    async def run(self) -> Report:
        async with self._store.read() as tx:
            rows = (
                await tx.execute(
                    select(enrollments.c.id)
                    .where(enrollments.c.ended_at.is_(None))
                    .order_by(enrollments.c.kickoff, enrollments.c.id)
                )
            ).all()
        found: list[Difference | None] = []
        for first in range(0, len(rows), 500):  # not a task for each of many thousands at once
            part = rows[first : first + 500]
            found += await asyncio.gather(*(self._one(row.id) for row in part))
        differences = [each for each in found if each is not None]
        differences = await self._started_by_now(differences)
        differences += await self._listed()
        return await self._released(Report(len(rows), differences))

    async def _released(self, report: Report) -> Report:
        """Release the mailboxes that wait since the database was restored, if all is well."""
        async with self._store.write() as tx:
            now = await self._store.now(tx)
            if not await restoring.held_by_it(tx, now):
                return report
            if report.left:
                return replace(report, mailboxes=Mailboxes.HELD)
            await restoring.release_all(tx, await self._desk.who(tx, None), now)
            reason = "nothing is different any more"
            await audit.append(
                tx, who=None, action="release_mailbox", target="all", why=reason, now=now
            )
        return replace(report, mailboxes=Mailboxes.RELEASED)

    # One enrollment

    async def _one(self, enrollment_id: str) -> Difference | None:
        """The difference that is still there after several looks, mended where that can be."""
        async with self._slots:
            for look in range(LOOKS):
                row = await self._row(enrollment_id)
                if row is None or row.ended_at is not None:
                    return None
                difference = await self._look(row, is_last=look == LOOKS - 1)
                if difference is None:
                    return None
                if difference.mended or look == LOOKS - 1:
                    return difference
                await asyncio.sleep(BETWEEN_LOOKS.total_seconds())
        raise AssertionError("the last look decides")

    async def _row(self, enrollment_id: str) -> Row[Any] | None:
        wanted = (
            select(enrollments, people.c.email)
            .join(people, people.c.id == enrollments.c.person_id)
            .where(enrollments.c.id == enrollment_id)
        )
        async with self._store.read() as tx:
            return (await tx.execute(wanted)).one_or_none()

    async def _look(self, row: Row[Any], *, is_last: bool) -> Difference | None:
        handle = self._client.get_workflow_handle(row.workflow_id)
        try:
            described = await handle.describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return await self._not_there(row, is_last=is_last)
        whose = await described.memo_value(MEMO, None)
        if whose != row.id:
            async with self._store.read() as tx:
                is_earlier = isinstance(whose, str) and await enrollments_table.find(tx, whose)
            if is_earlier or row.started_at is None:
                return await self._not_there(row, is_last=is_last)
            return await self._taken(row, whose, is_last=is_last)
        if described.status is not WorkflowExecutionStatus.RUNNING:
            return await self._closed(row, described.status, is_last=is_last)
        progress = await self._ask(row)
        if isinstance(progress, Difference):
            return progress
        lost = await self._lost_events(row, progress)
        async with self._store.read() as tx:
            rows = await rebuilding.lost_rows(tx, row, progress)
        if not lost and not rows and await self._agrees(row, progress):
            return None
        says = _says(progress)
        if lost:
            says += f"; lost events: {lost}"
        if rows:
            says += f"; behind: {', '.join(rows)}"
        difference = _difference(row, Kind.BEHIND, says, "the tables are mended")
        if not is_last:
            return difference
        return await self._mend(row, progress, difference)

    async def _not_there(self, row: Row[Any], *, is_last: bool) -> Difference | None:
        """No workflow: start it, for the first time or from where the tables say it stood."""
        if row.started_at is not None:
            difference = _difference(
                row, Kind.MISSING, "unknown to Temporal", "started again from where it stood"
            )
            if not is_last:
                return difference
            await rebuilding.rebuild(self._store, self._client, row.id, self._task_queue)
            return replace(difference, mended=True)
        async with self._store.read() as tx:
            order = (
                await tx.execute(select(outbox).where(outbox.c.key == f"{START}/{row.id}"))
            ).one_or_none()
            now = await self._store.now(tx)
        if order is not None and order.tries == 0 and now - row.kickoff < START_AFTER:
            return None  # Whoever enrolls is about to start it.
        difference = _difference(row, Kind.NOT_STARTED, "not started", "it is to be started now")
        if not is_last:
            return difference
        async with self._store.write() as tx:
            await rebuilding.order_start(tx, row.id, await self._store.now(tx))
        return difference

    async def _taken(self, row: Row[Any], whose: object, *, is_last: bool) -> Difference | None:
        """A later enrollment, unknown to the tables, has the workflow id: this one is over."""
        query = f'WorkflowType = "{WORKFLOW_TYPE}" AND WorkflowId = "{row.workflow_id}"'
        async for execution in self._client.list_workflows(query):
            if await execution.memo_value(MEMO, None) == row.id:
                return await self._closed(
                    row, execution.status, run_id=execution.run_id, is_last=is_last
                )
        text = "ended as removed in the tables: how it ended is forgotten"
        difference = _difference(row, Kind.TAKEN, f"of enrollment {whose}", text)
        if not is_last:
            return difference
        await rebuilding.close(self._store, row.id, Outcome.REMOVED)
        return replace(difference, mended=True)

    async def _started_by_now(self, differences: list[Difference]) -> list[Difference]:
        """Wait until what was to be started is."""
        keys = {
            f"{START}/{each.enrollment}": each
            for each in differences
            if each.kind is Kind.NOT_STARTED
        }
        if not keys:
            return differences
        await unconfirmed(self._store, Told(len(keys), tuple(keys)), wait=START_PATIENCE)
        checked = []
        for each in differences:
            if each.kind is Kind.NOT_STARTED and each.enrollment is not None:
                row = await self._row(each.enrollment)
                each = (
                    replace(each, mended=True, text="it is started now")
                    if row is None or row.started_at is not None
                    else replace(each, text="its start waits for a worker")
                )
            checked.append(each)
        return checked

    async def _closed(
        self,
        row: Row[Any],
        status: WorkflowExecutionStatus | None,
        *,
        is_last: bool,
        run_id: str | None = None,
    ) -> Difference | None:
        name = status.name.lower() if status is not None else "closed"
        if not is_last:
            return _difference(row, Kind.CLOSED, name, "")
        if status is not WorkflowExecutionStatus.COMPLETED:
            # Somebody has stopped it by hand: nothing will ever happen any more.
            await rebuilding.close(self._store, row.id, Outcome.REMOVED)
            text = "ended as removed in the tables"
            return replace(_difference(row, Kind.CLOSED, name, text), mended=True)
        handle = self._client.get_workflow_handle(
            row.workflow_id, run_id=run_id, result_type=CampaignResult
        )
        result: CampaignResult = await handle.result()
        text = f"ended as {result.outcome.replace('_', ' ')} in the tables"
        difference = _difference(row, Kind.CLOSED, f"over: {result.outcome}", text)
        progress = await self._ask(row, run_id)
        if isinstance(progress, Progress):
            # Also what happened on the way: suppressions above all.
            return await self._mend(row, progress, difference)
        await rebuilding.close(self._store, row.id, result.outcome)
        return replace(difference, mended=True)

    async def _ask(self, row: Row[Any], run_id: str | None = None) -> Progress | Difference:
        handle = self._client.get_workflow_handle(row.workflow_id, run_id=run_id)
        try:
            progress: Progress = await handle.query(
                "progress", result_type=Progress, rpc_timeout=QUERY_TIMEOUT
            )
        except RPCError as error:
            self._unanswered += 1
            if not self._answered and self._unanswered >= UNANSWERED_AT_MOST:
                raise ActionError(
                    "no worker answers for the workflows: start it, then check again"
                ) from error
            return _difference(
                row,
                Kind.UNANSWERED,
                error.status.name,
                "is the worker running? its log, and the Temporal UI, say more",
            )
        self._answered += 1
        return progress

    async def _agrees(self, row: Row[Any], progress: Progress) -> bool:
        if (row.step or None) != (progress.step or None) or row.outcome != progress.outcome:
            return False
        if progress.state is State.SENDING:
            return True  # What comes of it will be recorded with it.
        said = row.why["code"] if row.why else None
        if row.state != progress.state or said != (progress.why.code if progress.why else None):
            return False
        return await self._is_same_time(row.next_at, progress.next_at_utc)

    async def _lost_events(self, row: Row[Any], progress: Progress) -> int:
        """How many events the workflow knows that the tables do not."""
        wanted = select(events.c.key).where(events.c.enrollment_id == row.id)
        async with self._store.read() as tx:
            known = set((await tx.execute(wanted)).scalars())
        return sum(str(entry.seq) not in known for entry in progress.happened)

    async def _is_same_time(self, one: datetime | None, other: datetime | None) -> bool:
        if one is None or other is None:
            return one is other
        async with self._store.read() as tx:
            now = await self._store.now(tx)
        return abs(one - other) <= TOLERANCE or max(one, other) <= now

    async def _mend(
        self, row: Row[Any], progress: Progress, difference: Difference
    ) -> Difference | None:
        if await rebuilding.take_over(self._store, row, progress):
            return replace(difference, mended=True)
        return None  # Something was recorded meanwhile: it is being told.

    # What Temporal lists

    async def _listed(self) -> list[Difference]:
        """Workflows without a row, and those that run although their enrollment has ended."""
        listed = [
            (execution, await execution.memo_value(MEMO, None))
            async for execution in self._client.list_workflows(
                f"WorkflowType = '{WORKFLOW_TYPE}' AND TaskQueue = '{self._task_queue}'",
                page_size=LISTED_AT_ONCE,
            )
            if execution.status is not WorkflowExecutionStatus.CONTINUED_AS_NEW
        ]
        # Rows are written before workflows start: what is read afterwards knows all of them.
        async with self._store.read() as tx:
            now = await self._store.now(tx)
            wanted = select(enrollments.c.id, enrollments.c.ended_at)
            ended = {row.id: row.ended_at for row in await tx.execute(wanted)}
        found: list[Difference | None] = []
        for execution, whose in listed:
            if whose not in ended:
                found.append(await self._unknown(execution, whose))
            elif execution.status is WorkflowExecutionStatus.RUNNING:
                at = ended[whose]
                if at is not None and at < now - JUST_ENDED:
                    found.append(await self._runs_on(execution, whose))
        return [each for each in found if each is not None]

    async def _unknown(self, execution: WorkflowExecution, whose: object) -> Difference:
        person_id = execution.id.rpartition("/")[2]
        async with self._store.read() as tx:
            address = (
                await tx.execute(select(people.c.email).where(people.c.id == person_id))
            ).scalar_one_or_none()
        is_running = execution.status is WorkflowExecutionStatus.RUNNING
        text = (
            "it cannot be mended: terminate it in the Temporal UI; until then the person "
            "cannot be enrolled in that campaign"
        )
        if not is_running:
            text = "the person cannot be enrolled in that campaign until Temporal forgets it"
            if execution.status is WorkflowExecutionStatus.COMPLETED and address is not None:
                text = await self._read_back(execution, address) or text
        return Difference(
            kind=Kind.UNKNOWN if is_running else Kind.UNKNOWN_CLOSED,
            workflow_id=execution.id,
            enrollment=whose if isinstance(whose, str) else None,
            campaign=execution.id.removeprefix("campaign/").rpartition("/")[0] or None,
            person=address,
            tables="no row",
            workflow=execution.status.name.lower() if execution.status else "unknown",
            mended=not is_running,
            text=text,
        )

    async def _runs_on(self, execution: WorkflowExecution, enrollment_id: str) -> Difference | None:
        """Have a workflow end whose enrollment has: Temporal is older than the tables."""
        handle = self._client.get_workflow_handle(execution.id, run_id=execution.run_id)
        if (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING:
            return None  # The list lags.
        row = await self._row(enrollment_id)
        if row is None:
            return None
        async with self._store.write() as tx:
            await outbox_table.put(
                tx,
                enrollment_id,
                kind="end",
                key=f"end-again/{enrollment_id}/{execution.run_id}",
                payload={"success": row.outcome == Outcome.SUCCESS},
                now=await self._store.now(tx),
            )
        return replace(_difference(row, Kind.RUNS_ON, "running", "it is told to end"), mended=True)

    async def _read_back(self, execution: WorkflowExecution, address: str) -> str | None:
        """The suppression that an ended workflow knows of, written again if it was lost."""
        handle = self._client.get_workflow_handle(
            execution.id, run_id=execution.run_id, result_type=CampaignResult
        )
        result: CampaignResult = await handle.result()
        if result.outcome is not Outcome.UNSUBSCRIBED:
            return None
        async with self._store.write() as tx:
            is_new = await suppressions.add(
                tx,
                kind="address",
                value=address,
                source="unsubscribed",
                reason=None,
                who=None,
                now=await self._store.now(tx),
            )
        return "the address is suppressed again: the person had unsubscribed" if is_new else None


def _difference(row: Row[Any], kind: Kind, workflow: str, text: str) -> Difference:
    return Difference(
        kind=kind,
        workflow_id=row.workflow_id,
        enrollment=row.id,
        campaign=row.campaign,
        person=row.email,
        tables=_stands(row.state, row.outcome, row.step, row.next_at),
        workflow=workflow,
        mended=False,
        text=text,
    )


def _says(progress: Progress) -> str:
    return _stands(progress.state, progress.outcome, progress.step, progress.next_at_utc)


def _stands(state: str, outcome: str | None, step: int | None, next_at: datetime | None) -> str:
    text = str(state).replace("_", " ")
    if outcome:
        text += f" ({str(outcome).replace('_', ' ')})"
    if step:
        text += f" at step {step}"
    if next_at:
        text += f", next {next_at:%Y-%m-%d %H:%M:%S} UTC"
    return text
