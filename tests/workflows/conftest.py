from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import TimeSkipper
from temporalio.worker import Worker

from drumbeat.temporal.interceptor import RecordingInterceptor
from tests.workflows.stubs import Stubs
from workflows.campaign import CampaignWorkflow
from workflows.messages import CampaignInput, CampaignResult, Progress

Handle = WorkflowHandle[CampaignWorkflow, CampaignResult]


class Stage:
    """A worker with stand-in activities, and the ways to drive a workflow through virtual time."""

    def __init__(self, client: Client, task_queue: str, stubs: Stubs) -> None:
        self.client = client
        self.task_queue = task_queue
        self.stubs = stubs
        self.skipper = TimeSkipper(client)

    async def start(self, start: CampaignInput) -> Handle:
        return await self.client.start_workflow(
            CampaignWorkflow.run,
            start,
            id=f"campaign/{start.campaign}/{self.task_queue}",
            task_queue=self.task_queue,
        )

    async def skip(self, handle: Handle, **delta: float) -> None:
        await self.skipper.fast_forward(handle, timedelta(**delta))

    async def until(self, handle: Handle, is_so: Callable[[Progress], bool]) -> Progress:
        """Ask for the progress until it is as wanted: each question waits for the workflow."""
        for _ in range(500):
            progress = await handle.query(CampaignWorkflow.progress)
            if is_so(progress):
                return progress
        raise AssertionError(f"it never came to be so: {progress}")


@pytest.fixture
def stubs() -> Stubs:
    return Stubs()


@pytest.fixture
async def stage(temporal_client: Client, task_queue: str, stubs: Stubs) -> AsyncIterator[Stage]:
    async with Worker(
        temporal_client,
        task_queue=task_queue,
        workflows=[CampaignWorkflow],
        activities=stubs.all,
        interceptors=[RecordingInterceptor()],
    ):
        yield Stage(temporal_client, task_queue, stubs)


@pytest.fixture
def soon() -> datetime:
    """A kickoff for runs in virtual time, which begins now: to the minute, to be readable."""
    return datetime.now(UTC).replace(second=0, microsecond=0)


Waiter = Callable[..., Awaitable[Any]]
