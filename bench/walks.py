"""Walks through campaigns in virtual time, for their histories: the outside world is left out.

The workflow is Drumbeat's own; its activities answer at once what the real ones answer when all
goes well. What they are asked and what they answer has the real size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.testing import TimeSkipper
from temporalio.worker import Worker

from activities.outcomes import Opened, OpenResult, OpenTask, SendEmail, SendResult, Sent
from bench import floor
from bench.bare import Bare
from bench.stage import BenchFailed
from drumbeat.campaign.calendar import Plan, PlannedStep
from drumbeat.campaign.model import Send
from drumbeat.campaign.record import Record
from drumbeat.campaign.states import State
from drumbeat.temporal.interceptor import RecordingInterceptor
from workflows import messages
from workflows.campaign import CampaignWorkflow
from workflows.enrollment import Enrollment

STEPS = 11
"""Ten whole ones, from one step's timer to the next one's, and the last."""
QUEUE = "walks"
ENROLLMENT = "0123456789abcdef"
REP = "r0123456789ab"
MOST_QUESTIONS = 500
"""Until a task must be open: each question waits for the workflow's next task."""

_ACTIONS = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
        EventType.EVENT_TYPE_TIMER_STARTED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
        EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
    }
)
"""What Temporal Cloud counts as one Action each (FACTS.md, section 10)."""
_OF_VIRTUAL_TIME = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED,
    }
)
"""Written by the server when it skips time: no real history has them."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one step leaves in a history, on average."""

    events: float
    size: float
    """In bytes."""
    actions: float


def cost_of_a_step(events: Sequence[HistoryEvent]) -> Cost:
    """What lies between a step's timer and the next one's, on average of all steps but the last.

    Raises:
        ValueError: There are not two timers.
    """
    real = [event for event in events if event.event_type not in _OF_VIRTUAL_TIME]
    timers = [
        index
        for index, event in enumerate(real)
        if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED
    ]
    if len(timers) < 2:
        raise ValueError("a history with fewer than two timers holds no whole step")
    between = real[timers[0] : timers[-1]]
    steps = len(timers) - 1
    return Cost(
        events=len(between) / steps,
        size=sum(event.ByteSize() for event in between) / steps,
        actions=sum(event.event_type in _ACTIONS for event in between) / steps,
    )


async def emails(client: Client) -> WorkflowHistory:
    """The history of a campaign of automatic emails, one a day."""
    async with _worker(client):
        handle = await _start(client, "emails", _emails())
        await handle.result()
        return await handle.fetch_history()


async def tasks(client: Client) -> WorkflowHistory:
    """The history of a campaign of calls, one a day, each completed by an update."""
    steps = tuple(
        PlannedStep(number=number, day=number, kind="call", label="call")
        for number in range(1, STEPS + 1)
    )
    async with _worker(client):
        handle = await _start(client, "tasks", steps)
        for step in steps:
            await _until_open(handle, step.number)
            await handle.execute_update(
                CampaignWorkflow.complete_task,
                messages.CompleteTask(
                    enrollment_id=ENROLLMENT,
                    who=REP,
                    task_id=f"{ENROLLMENT}-{step.number}",
                    outcome="Connected",
                    note_id="x0123456789abcdef",
                ),
            )
        await handle.result()
        return await handle.fetch_history()


async def floors(client: Client) -> WorkflowHistory:
    """The history of the floor's workflow, with as many rounds as the campaigns have steps."""
    due_at = datetime.now(UTC) + timedelta(hours=1)
    return await _walk_bare(client, floor.Floor, "floor", [due_at, STEPS])


async def bare(client: Client) -> WorkflowHistory:
    """The history of the campaign's own timers and activities, asked for by a bare workflow."""
    kickoff = datetime.now(UTC)
    enrollment = Enrollment.begin(_input(_emails(), kickoff))
    enrollment.reach(enrollment.plan.step(1), kickoff)
    send = SendEmail(
        record=enrollment.record(),
        step=1,
        due_at=enrollment.due.at,
        due_on=enrollment.due.on,
        seq=enrollment.reserve(),
    )
    return await _walk_bare(client, Bare, "bare", [send, STEPS])


async def _walk_bare(
    client: Client, workflow: type[floor.Floor | Bare], name: str, arguments: list[object]
) -> WorkflowHistory:
    queue = f"walk-{name}"
    activities: list[Callable[..., Any]] = [floor.nothing, _send_email]
    async with Worker(client, task_queue=queue, workflows=[workflow], activities=activities):
        handle = await TimeSkipper(client).client.start_workflow(
            workflow.__name__, args=arguments, id=f"walk/{name}", task_queue=queue
        )
        await handle.result()
        return await handle.fetch_history()


async def _start(
    client: Client, name: str, steps: tuple[PlannedStep, ...]
) -> WorkflowHandle[CampaignWorkflow, messages.CampaignResult]:
    start = _input(steps, datetime.now(UTC).replace(second=0, microsecond=0))
    return await TimeSkipper(client).client.start_workflow(
        CampaignWorkflow.run, start, id=f"walk/{name}", task_queue=QUEUE
    )


def _emails() -> tuple[PlannedStep, ...]:
    return tuple(
        PlannedStep(
            number=number,
            day=number,
            kind="email",
            send=Send.FIXED,
            send_time=time(9, 30),
            label="intro",
        )
        for number in range(1, STEPS + 1)
    )


def _input(steps: tuple[PlannedStep, ...], kickoff: datetime) -> messages.CampaignInput:
    return messages.CampaignInput(
        enrollment_id=ENROLLMENT,
        campaign="bench",
        rep_id=REP,
        plan=Plan(steps=steps, zone=ZoneInfo("America/New_York"), kickoff=kickoff),
    )


async def _until_open(
    handle: WorkflowHandle[CampaignWorkflow, messages.CampaignResult], number: int
) -> None:
    for _ in range(MOST_QUESTIONS):
        progress = await handle.query(CampaignWorkflow.progress)
        if progress.step == number and progress.state is State.TASK:
            return
    raise BenchFailed(f"task {number} of the walk did not open")


def _worker(client: Client) -> Worker:
    return Worker(
        client,
        task_queue=QUEUE,
        workflows=[CampaignWorkflow],
        activities=[_send_email, _open_task, _record],
        interceptors=[RecordingInterceptor()],
    )


@activity.defn(name="send_email")
async def _send_email(send: SendEmail) -> SendResult:
    return SendResult(outcome=Sent(at=activity.info().started_time))


@activity.defn(name="open_task")
async def _open_task(task: OpenTask) -> OpenResult:
    return OpenResult(outcome=Opened())


@activity.defn(name="record")
async def _record(record: Record) -> None:
    return None
