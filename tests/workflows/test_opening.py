"""A task is in the tables before its workflow is told so: who sees it there may act at once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from activities.outcomes import Held, NotSent, Opened, OpenOutcome, OpenResult, OpenTask
from drumbeat.campaign.record import What
from drumbeat.campaign.states import HoldKind, Outcome, State, Why, WhyCode
from tests.workflows.conftest import Stage
from tests.workflows.plans import ENROLLMENT, call, email_task, start
from tests.workflows.stubs import Stubs
from workflows import messages
from workflows.campaign import CampaignWorkflow

TASK = f"{ENROLLMENT}-1"


class SlowToOpen(Stubs):
    """Opens a task when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.opening = asyncio.Event()
        self.may_open = asyncio.Event()
        self.answer: OpenOutcome = Opened()

    @activity.defn(name="open_task")
    async def open_task(self, task: OpenTask) -> OpenResult:
        self.opened.append(task)
        self.opening.set()
        await self.may_open.wait()
        return OpenResult(outcome=self.answer)


@pytest.fixture
def slow() -> SlowToOpen:
    return SlowToOpen()


@pytest.fixture
async def slow_stage(
    temporal_client: Client, task_queue: str, slow: SlowToOpen
) -> AsyncIterator[Stage]:
    async with Worker(
        temporal_client,
        task_queue=task_queue,
        workflows=[CampaignWorkflow],
        activities=slow.all,
    ):
        yield Stage(temporal_client, task_queue, slow)


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


async def test_a_task_that_is_just_being_opened_is_completed(
    slow_stage: Stage, slow: SlowToOpen, now: datetime
) -> None:
    handle = await slow_stage.start(start(call(1, 1), kickoff=now))
    await slow.opening.wait()
    await handle.signal("complete_task", {"task_id": TASK, "outcome": "Connected"})
    slow.may_open.set()
    assert (await handle.result()).outcome is Outcome.COMPLETED
    whats = [entry.what for record in slow.records for entry in record.entries]
    assert whats == [What.TASK_COMPLETED, What.ENDED]


async def test_what_is_said_of_a_task_while_it_is_opened_stays(
    slow_stage: Stage, slow: SlowToOpen, now: datetime
) -> None:
    handle = await slow_stage.start(start(email_task(1, 1), kickoff=now))
    await slow.opening.wait()
    at = datetime(2100, 1, 1, tzinfo=UTC)
    said = [
        handle.execute_update(
            CampaignWorkflow.snooze_task,
            messages.SnoozeTask(task_id=TASK, due=date(2100, 1, 1)),
        ),
        handle.execute_update(
            CampaignWorkflow.send_task_email, messages.SendTaskEmail(task_id=TASK, at=at)
        ),
    ]
    waiting = [asyncio.create_task(one) for one in said]
    await slow_stage.until(handle, lambda p: p.next_at_utc == at)
    slow.may_open.set()
    await asyncio.gather(*waiting)
    progress = await slow_stage.until(handle, lambda p: p.state is State.TASK)
    assert (progress.next_at_utc, progress.why) == (at, Why(code=WhyCode.TASK, until=at))
    await handle.terminate()


async def test_a_task_that_a_hold_kept_from_opening_is_not_open(
    slow_stage: Stage, slow: SlowToOpen, now: datetime
) -> None:
    handle = await slow_stage.start(start(call(1, 1), kickoff=now))
    await slow.opening.wait()
    slow.answer = Held(hold_id="h1", hold_kind=HoldKind.PERSON)
    slow.may_open.set()
    await slow_stage.until(handle, lambda p: p.state is State.HELD)
    await handle.signal("complete_task", {"task_id": TASK})
    progress = await slow_stage.until(
        handle, lambda p: any(entry.what is What.REFUSED for entry in p.happened)
    )
    assert "is not open yet" in progress.happened[-1].detail["reason"]
    await handle.terminate()


async def test_an_enrollment_that_ended_before_its_task_opened_is_over(
    slow_stage: Stage, slow: SlowToOpen, now: datetime
) -> None:
    handle = await slow_stage.start(start(call(1, 1), kickoff=now))
    slow.answer = NotSent(why=Why(code=WhyCode.ENDED), outcome=Outcome.REMOVED)
    slow.may_open.set()
    assert (await handle.result()).outcome is Outcome.REMOVED
