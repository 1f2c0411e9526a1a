"""Start the workflow of an enrollment: once, however often it is asked for and whoever asks."""

import logging
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from drumbeat.campaign.calendar import Plan
from drumbeat.campaign.model import OnReply
from drumbeat.campaign.planning import parse_zone
from drumbeat.campaign.states import State
from drumbeat.store import campaigns, enrollments, reps
from drumbeat.store.engine import Store
from drumbeat.store.schema import drafts, messages
from drumbeat.temporal import attributes
from workflows import handling
from workflows.enrollment import Enrollment
from workflows.messages import WORKFLOW_TYPE, CampaignInput, EditEmail

_LOG = logging.getLogger("drumbeat.starting")

MEMO = "enrollment"
"""The key of a workflow's memo under which the enrollment's id stands."""


@dataclass(frozen=True, slots=True)
class Start:
    """All that is needed to start an enrollment's workflow."""

    enrollment_id: str
    workflow_id: str
    campaign: str
    """The slug."""
    person_id: str
    rep_id: str
    rep_zone: ZoneInfo | None
    round: int
    plan: Plan
    on_reply: OnReply
    remove_on_bounce: bool
    due_at: datetime
    """When the first step is due, UTC."""
    carried: str | None = None
    """The whole state as JSON, where a workflow that Temporal has lost goes on as a new one."""


class WorkflowIdTaken(Exception):
    """A workflow of that id exists, and it is another enrollment's."""

    def __init__(self, enrollment_id: str | None, *, is_running: bool) -> None:
        super().__init__("a workflow of this id exists, of another enrollment")
        self.enrollment_id = enrollment_id
        """Whose it is; None: it does not say."""
        self.is_running = is_running


class StillRunning(RPCError):
    """The workflow of the person's enrollment before this one has not closed yet: try later."""

    def __init__(self) -> None:
        super().__init__("it has not closed yet", RPCStatusCode.FAILED_PRECONDITION, b"")


async def start_workflow(client: Client, start: Start, task_queue: str) -> bool:
    """Start the workflow of an enrollment; False where it had been started before.

    Raises:
        WorkflowIdTaken: A workflow of that id exists, of another enrollment.
        RPCError: Temporal did not do it; whether the workflow runs is not known.
    """
    if start.round > 1 and await _is_there(client, start):
        return False
    try:
        await client.start_workflow(
            WORKFLOW_TYPE,
            CampaignInput(
                enrollment_id=start.enrollment_id,
                campaign=start.campaign,
                rep_id=start.rep_id,
                rep_zone=start.rep_zone,
                plan=start.plan,
                on_reply=start.on_reply,
                remove_on_bounce=start.remove_on_bounce,
                carried=start.carried,
            ),
            id=start.workflow_id,
            task_queue=task_queue,
            # Later rounds run under the id of the first. That theirs was not started before is
            # what `_is_there` has seen.
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE
            if start.round == 1
            else WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            memo={MEMO: start.enrollment_id},
            search_attributes=_attributes(start),
            static_summary=f"{start.campaign} · {start.person_id}",
        )
    except WorkflowAlreadyStartedError:
        if await _is_there(client, start, must_be_ours=True):
            return False
        raise
    return True


def _attributes(start: Start) -> TypedSearchAttributes:
    return TypedSearchAttributes(
        [
            SearchAttributePair(attributes.CAMPAIGN, start.campaign),
            SearchAttributePair(attributes.REP, start.rep_id),
            SearchAttributePair(attributes.STEP, "1"),
            SearchAttributePair(attributes.STATE, State.SLEEPING.value),
            SearchAttributePair(attributes.NEXT_ACTION_AT, start.due_at),
        ]
    )


async def _is_there(client: Client, start: Start, *, must_be_ours: bool = False) -> bool:
    """Whether the latest workflow of that id is this enrollment's.

    Raises:
        WorkflowIdTaken: It is another's and runs, or `must_be_ours`.
        RPCError: Temporal does not answer.
    """
    try:
        found = await client.get_workflow_handle(start.workflow_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND and not must_be_ours:
            return False
        raise
    whose = await found.memo_value(MEMO, None)
    if whose == start.enrollment_id:
        return True
    is_running = found.status is WorkflowExecutionStatus.RUNNING
    if is_running or must_be_ours:
        raise WorkflowIdTaken(whose if isinstance(whose, str) else None, is_running=is_running)
    return False


async def start_enrollment(
    store: Store, client: Client, enrollment_id: str, task_queue: str
) -> None:
    """Have an enrollment's workflow started, and note that it was; nothing where it has ended.

    An enrollment whose workflow id is taken by one that the tables do not know is withdrawn, as if
    nobody had enrolled the person: enrolling again says why.

    Raises:
        RPCError: Temporal did not do it, or the person's workflow before it has not closed yet.
        StoreError: The database did not do it.
    """
    async with store.read() as tx:
        row = await enrollments.find(tx, enrollment_id)
        if row is None:
            return
        start = None
        if row.started_at is None and row.ended_at is None:
            start = await with_kept(tx, await start_of(tx, row))
    if start is not None:
        try:
            await start_workflow(client, start, task_queue)
        except WorkflowIdTaken as taken:
            if await give_up_or_wait(store, enrollment_id, taken):
                return
            raise StillRunning from taken
    async with store.write() as tx:
        await enrollments.mark_started(tx, [enrollment_id], await store.now(tx))


async def start_of(tx: AsyncConnection, row: Row[Any]) -> Start:
    """What starts the workflow of an enrollment's row.

    Raises:
        LookupError: Its campaign's version, or its rep, is not in the tables.
    """
    settings = (await campaigns.load(tx, row.version)).settings
    rep = await reps.find(tx, row.rep_id)
    if rep is None:
        raise LookupError(f"the tables know no rep {row.rep_id}")
    return Start(
        enrollment_id=row.id,
        workflow_id=row.workflow_id,
        campaign=row.campaign,
        person_id=row.person_id,
        rep_id=row.rep_id,
        rep_zone=parse_zone(rep.timezone),
        round=row.round,
        plan=Plan.model_validate_json(row.plan),
        on_reply=settings.on_reply,
        remove_on_bounce=settings.remove_on_bounce,
        due_at=row.next_at or row.kickoff,
    )


async def with_kept(tx: AsyncConnection, start: Start) -> Start:
    """The start of a workflow that was never started, with the texts kept for its emails, if any.

    They are in its state before it does anything: no email can leave without them.
    """
    wanted = (
        select(drafts.c.step, drafts.c.id, drafts.c.who, drafts.c.at)
        .join(messages, messages.c.draft_id == drafts.c.id)
        .where(messages.c.enrollment_id == start.enrollment_id)
    )
    rows = (await tx.execute(wanted)).all()
    if not rows:
        return start
    state = Enrollment.begin(
        CampaignInput(
            enrollment_id=start.enrollment_id,
            campaign=start.campaign,
            rep_id=start.rep_id,
            rep_zone=start.rep_zone,
            plan=start.plan,
            on_reply=start.on_reply,
            remove_on_bounce=start.remove_on_bounce,
        )
    )
    for row in rows:
        message = EditEmail(
            enrollment_id=start.enrollment_id, who=row.who or None, step=row.step, draft_id=row.id
        )
        handling.edit_email(state, message, row.at)
    return replace(start, carried=state.model_dump_json())


async def give_up_or_wait(store: Store, enrollment_id: str, taken: WorkflowIdTaken) -> bool:
    """Withdraw an enrollment whose workflow id is taken, unless the tables know by whom.

    False: it is the enrollment before, whose workflow is about to close.
    """
    async with store.write() as tx:
        if taken.is_running and taken.enrollment_id is not None:
            other = await enrollments.find(tx, taken.enrollment_id)
            if other is not None and other.ended_at is not None:
                return False
        if await enrollments.withdraw(tx, enrollment_id):
            _LOG.warning("enrollment %s is withdrawn: %s", enrollment_id, taken)
    return True
