"""Messages that come while the one before is being recorded."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio import activity

from activities.outcomes import Blocked, Failed
from drumbeat.campaign.calendar import PlannedStep
from drumbeat.campaign.record import Record
from drumbeat.campaign.states import Outcome, State, Why, WhyCode
from tests.workflows.conftest import Stage
from tests.workflows.plans import ENROLLMENT, NEW_YORK, call, email, email_task, start
from tests.workflows.stubs import Stubs


class SlowToRecord(Stubs):
    """Every record waits until it may be written."""

    def __init__(self) -> None:
        super().__init__()
        self.recording = asyncio.Event()
        self.may_record = asyncio.Event()

    @activity.defn(name="record")
    async def record(self, record: Record) -> None:
        self.recording.set()
        await self.may_record.wait()
        self.records.append(record)


@pytest.fixture
def stubs() -> SlowToRecord:
    return SlowToRecord()


HOLD = ("hold", {"hold_id": "h1"})
RELEASE = ("release", {"hold_id": "h1"})
END: tuple[str, dict[str, Any]] = ("end", {})
TASK = {"task_id": f"{ENROLLMENT}-1"}
ANOTHER_HOLD = ("hold", {"hold_id": "h2"})


def now_due(soon: datetime) -> PlannedStep:
    return email(1, 1, f"{soon.astimezone(NEW_YORK):%H:%M}")


@pytest.mark.parametrize("outcome", ["asleep", "blocked", "failed", "call", "email_task"])
@pytest.mark.parametrize(
    "after",
    [[END], [RELEASE, END], [ANOTHER_HOLD, END], [RELEASE, ("replied", {}), HOLD]],
    ids=["end", "release-end", "hold-end", "release-reply-hold"],
)
async def test_an_end_that_comes_while_a_hold_is_recorded_is_heard(
    stage: Stage, stubs: SlowToRecord, soon: datetime, outcome: str, after: Sequence[Any]
) -> None:
    step, state = now_due(soon), State.TASK
    match outcome:
        case "asleep":
            step, state = email(1, 3), State.SLEEPING
        case "blocked":
            stubs.answers[1] = [Blocked(why=Why(code=WhyCode.MISSING_DATA))]
            state = State.BLOCKED
        case "failed":
            stubs.answers[1] = [Failed(why=Why(code=WhyCode.REFUSED))]
            state = State.FAILED
        case "call":
            step = call(1, 1)
        case "email_task":
            step = email_task(1, 1)
    handle = await stage.start(start(step, kickoff=soon))
    await stage.until(handle, lambda progress: progress.state is state)
    await handle.signal(*HOLD)
    await asyncio.wait_for(stubs.recording.wait(), 20)
    for name, payload in after:
        await handle.signal(name, payload)
    stubs.may_record.set()
    result = await asyncio.wait_for(handle.result(), 60)
    assert result.outcome in (Outcome.REMOVED, Outcome.REPLIED)


async def test_a_task_completed_while_its_hold_is_recorded_is_over(
    stage: Stage, stubs: SlowToRecord, soon: datetime
) -> None:
    handle = await stage.start(start(call(1, 1), kickoff=soon - timedelta(minutes=1)))
    await stage.until(handle, lambda progress: progress.state is State.TASK)
    await handle.signal(*HOLD)
    await asyncio.wait_for(stubs.recording.wait(), 20)
    await handle.signal("complete_task", TASK)
    stubs.may_record.set()
    assert (await asyncio.wait_for(handle.result(), 60)).outcome is Outcome.COMPLETED
