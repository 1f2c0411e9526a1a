"""How a workflow is asked, against a workflow that answers in every way there is."""

import asyncio
import gc
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from drumbeat.actions.asking import (
    Answer,
    NobodyAnswered,
    NotRunning,
    Refused,
    ask,
)
from workflows.messages import Mended, Message, RetryStep

SOON = timedelta(milliseconds=300)


@workflow.defn(sandboxed=False)
class Answering:
    """Answers as it is named; `over` ends it."""

    def __init__(self) -> None:
        self._is_over = False
        self.asked = 0

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self._is_over)
        return self.asked

    @workflow.signal
    def over(self) -> None:
        self._is_over = True

    @workflow.update
    async def mended(self, message: Mended) -> None:
        self.asked += 1

    @workflow.update
    async def slow(self, message: Message) -> None:
        await workflow.wait_condition(lambda: self._is_over)

    @workflow.update
    async def late(self, message: Message) -> None:
        raise ApplicationError("r0123456789ab was faster", type="Refused", non_retryable=True)

    @workflow.update
    async def retry_step(self, message: RetryStep) -> None:
        self.asked += 1

    @retry_step.validator
    def _may_retry(self, message: RetryStep) -> None:
        raise ApplicationError("step 3 is over already", type="Refused", non_retryable=True)


Handle = WorkflowHandle[Answering, int]


@pytest.fixture
async def handle(temporal_client: Client, task_queue: str) -> AsyncIterator[Handle]:
    async with Worker(
        temporal_client,
        task_queue=task_queue,
        workflows=[Answering],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        handle = await temporal_client.start_workflow(
            Answering.run, id=task_queue, task_queue=task_queue
        )
        yield handle
        if (await handle.describe()).close_time is None:
            await handle.terminate()


async def test_an_update_that_is_carried_out_is_done(
    handle: Handle, temporal_client: Client
) -> None:
    assert await ask(temporal_client, handle.id, "mended", Mended()) is Answer.DONE


async def test_the_same_update_id_is_carried_out_once(
    handle: Handle, temporal_client: Client
) -> None:
    for _ in range(3):
        await ask(temporal_client, handle.id, "mended", Mended(), update_id="once")
    await handle.signal(Answering.over)
    assert await handle.result() == 1


async def test_a_validators_refusal_is_its_reason(handle: Handle, temporal_client: Client) -> None:
    with pytest.raises(Refused, match=r"^step 3 is over already$"):
        await ask(temporal_client, handle.id, "retry_step", RetryStep())


async def test_a_handlers_refusal_is_its_reason(handle: Handle, temporal_client: Client) -> None:
    with pytest.raises(Refused, match="r0123456789ab was faster"):
        await ask(temporal_client, handle.id, "late", Message())


async def test_an_update_that_takes_long_is_recorded_and_not_yet_shown(
    handle: Handle, temporal_client: Client
) -> None:
    answer = await ask(temporal_client, handle.id, "slow", Message(), wait=timedelta(seconds=2))
    assert answer is Answer.NOT_YET_SHOWN


async def test_what_is_given_up_leaves_no_error_that_python_prints(
    handle: Handle, temporal_client: Client
) -> None:
    unseen: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: unseen.append(context))
    try:
        await ask(temporal_client, handle.id, "slow", Message(), wait=timedelta(seconds=2))
        gc.collect()
    finally:
        loop.set_exception_handler(None)
    assert unseen == []


async def test_an_unknown_update_is_refused_in_one_line(
    handle: Handle, temporal_client: Client
) -> None:
    with pytest.raises(Refused, match="of different versions"):
        await ask(temporal_client, handle.id, "no_such_update", Message())


async def test_a_workflow_that_is_over_or_unknown_does_not_run(
    handle: Handle, temporal_client: Client
) -> None:
    await handle.signal(Answering.over)
    await handle.result()
    for workflow_id in (handle.id, "campaign/no/body"):
        with pytest.raises(NotRunning, match="does not run"):
            await ask(temporal_client, workflow_id, "mended", Mended())


async def test_without_a_worker_nobody_answers_in_time(
    temporal_client: Client, task_queue: str
) -> None:
    handle = await temporal_client.start_workflow(
        Answering.run, id=task_queue, task_queue=task_queue
    )
    with pytest.raises(NobodyAnswered, match="no worker took it in time"):
        await ask(temporal_client, handle.id, "mended", Mended(), wait=SOON)
    await handle.terminate()


async def test_a_caller_that_is_cancelled_is_cancelled(
    handle: Handle, temporal_client: Client
) -> None:
    asking = asyncio.create_task(ask(temporal_client, handle.id, "slow", Message()))
    done, _ = await asyncio.wait({asking}, timeout=0.2)
    assert not done
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
