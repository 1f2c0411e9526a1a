"""What it costs to wake a workflow that no worker has in memory: its history is replayed.

Measured with the SDK's Replayer, sandbox on, as CPU time of the whole process: the histories are
cut where a worker gets them, after the tenth timer has fired and the workflow task has started. The
bare workflow asks for the same timers and activities, with the same arguments, results and
summaries. The floor's own, with empty activities and no summaries, is measured beside it.
"""

import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Interceptor, Replayer

from bench import floor
from bench.bare import Bare
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


async def measure(
    emails: WorkflowHistory, bare: WorkflowHistory, floors: WorkflowHistory
) -> Figure:
    """Wake the campaign of emails, and the bare workflows, at the same step.

    Raises:
        BenchFailed: A replay failed.
    """
    walks = [
        (_replayer(CampaignWorkflow, RecordingInterceptor()), at_step(emails, STEP)),
        (_replayer(Bare), at_step(bare, STEP)),
        (_replayer(floor.Floor), at_step(floors, STEP)),
    ]
    for replayer, history in walks:  # what a process loads once is no matter of waking
        await _cpu(replayer, history, 3)
    rounds = [[await _cpu(*walk, WAKES) for walk in walks] for _ in range(ROUNDS)]
    wake, least, empty = (statistics.median(times) for times in zip(*rounds, strict=True))
    return Figure(
        name=NAME,
        title=f"CPU of waking a cold workflow at step {STEP}, sandbox on",
        measured=f"{wake * 1000:.0f} ms, {wake / least:.2f} times the bare one",
        floor=f"{least * 1000:.0f} ms (empty activities: {empty * 1000:.0f} ms)",
        aim=f"at most {AIM} times",
        reached=wake <= AIM * least,
        bound=(
            "The SDK: it enters the sandbox several times for each argument, result and summary,"
            " and loads the workflow's file with all its message handlers anew."
        ),
        numbers={
            "seconds": wake,
            "floor_seconds": least,
            "ratio": wake / least,
            "empty_seconds": empty,
            "ratio_to_empty": wake / empty,
        },
    )


def _replayer(workflow: type, *interceptors: Interceptor) -> Replayer:
    return Replayer(
        workflows=[workflow], interceptors=interceptors, data_converter=pydantic_data_converter
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
