"""What it costs to wake a workflow that no worker has in memory: its history is replayed.

Measured with the SDK's Replayer, sandbox on, as CPU time of the whole process: the histories are
cut where a worker gets them, after the tenth timer has fired and the workflow task has started.
"""

import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from bench import floor
from bench.report import Figure
from bench.stage import BenchFailed
from drumbeat.temporal.interceptor import RecordingInterceptor
from workflows.campaign import CampaignWorkflow

NAME = "waking"
STEP = 10
AIM = 1.6
WAKES = 40
"""In a row; the CPU time is theirs together."""
ROUNDS = 5
"""Of both workflows in turn, so that a busy moment of the machine meets both; the median counts."""


async def measure(emails: WorkflowHistory, bare: WorkflowHistory) -> Figure:
    """Wake the campaign of emails, and the bare workflow, at the same step.

    Raises:
        BenchFailed: A replay failed.
    """
    campaign = Replayer(
        workflows=[CampaignWorkflow],
        interceptors=[RecordingInterceptor()],
        data_converter=pydantic_data_converter,
    )
    nothing = Replayer(workflows=[floor.Floor], data_converter=pydantic_data_converter)
    emails, bare = at_step(emails, STEP), at_step(bare, STEP)
    await _cpu(campaign, emails, 3)  # what the first run of a process loads is no matter of waking
    await _cpu(nothing, bare, 3)
    ours, floors = [], []
    for _ in range(ROUNDS):
        ours.append(await _cpu(campaign, emails, WAKES))
        floors.append(await _cpu(nothing, bare, WAKES))
    wake, least = statistics.median(ours), statistics.median(floors)
    return Figure(
        name=NAME,
        title=f"CPU of waking a cold workflow at step {STEP}, sandbox on",
        measured=f"{wake * 1000:.1f} ms, {wake / least:.2f} times the floor",
        floor=f"{least * 1000:.1f} ms",
        aim=f"at most {AIM} times",
        reached=wake <= AIM * least,
        bound="Replay, mostly the sandbox's import of the workflow file and its proxies.",
        numbers={"seconds": wake, "floor_seconds": least, "ratio": wake / least},
    )


def at_step(history: WorkflowHistory, step: int) -> WorkflowHistory:
    """The history as a worker gets it that wakes the workflow by the timer of that step.

    Raises:
        BenchFailed: The history has no such timer.
    """
    fired = 0
    for index, event in enumerate(history.events):
        fired += event.event_type == EventType.EVENT_TYPE_TIMER_FIRED
        if fired == step and event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            return replace(history, events=history.events[: index + 1])
    raise BenchFailed(f"the walk never came to step {step}")


async def _cpu(replayer: Replayer, history: WorkflowHistory, times: int) -> float:
    """CPU seconds of one wake, all threads of this process together."""
    began = time.process_time()
    async with replayer.workflow_replay_iterator(_copies(history, times)) as results:
        async for result in results:
            if result.replay_failure is not None:
                raise BenchFailed(f"a replay failed: {result.replay_failure}")
    return (time.process_time() - began) / times


async def _copies(history: WorkflowHistory, times: int) -> AsyncIterator[WorkflowHistory]:
    for number in range(times):
        yield replace(history, workflow_id=f"{history.workflow_id}/{number}")
