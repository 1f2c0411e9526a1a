"""How an enrollment's workflow is asked to do something: an update that is told how it went."""

import asyncio
import uuid
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any

from temporalio.client import (
    Client,
    WorkflowUpdateFailedError,
    WorkflowUpdateHandle,
    WorkflowUpdateStage,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from drumbeat.actions.errors import ActionError
from workflows.messages import Message

PATIENCE = timedelta(seconds=10)
"""How long a caller waits until the effect is in the tables (SPEC section 6)."""


class Answer(StrEnum):
    """How an update that was not refused went."""

    DONE = "done"
    """Its effect is in the tables."""
    NOT_YET_SHOWN = "not_yet_shown"
    """It is recorded, and will be in the tables."""


class Refused(ActionError):
    """The workflow refuses it; the text is its reason, with ids for names."""


class NotRunning(ActionError):
    """There is no running workflow of that id."""


class NobodyAnswered(ActionError):
    """No worker took it in time: whether it will be carried out is not known."""


async def ask(
    client: Client,
    workflow_id: str,
    update: str,
    message: Message | Mapping[str, Any],
    *,
    update_id: str | None = None,
    wait: timedelta = PATIENCE,
) -> Answer:
    """Ask a workflow by an update and wait until its effect is in the tables.

    Args:
        client: Temporal's.
        workflow_id: The enrollment's.
        update: The update's name.
        message: What it says, or its fields. Names the enrollment, so that a later one of the
            same person is not meant.
        update_id: The same id is carried out once, however often it is asked; default: a new one.
        wait: How long to wait, in all.

    Raises:
        Refused: The workflow's reason.
        NotRunning: The workflow is over or unknown.
        NobodyAnswered: No worker took it in that time.
        ActionError: Temporal does not answer.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + wait.total_seconds()
    handle = client.get_workflow_handle(workflow_id)
    starting = asyncio.create_task(
        handle.start_update(
            update,
            message,
            wait_for_stage=WorkflowUpdateStage.ACCEPTED,
            id=update_id or uuid.uuid4().hex,
        )
    )
    accepted: WorkflowUpdateHandle[Any] = await _in_time(starting, until, accepted=False)
    finishing = asyncio.create_task(accepted.result())
    try:
        await _in_time(finishing, until, accepted=True)
    except TimeoutError:
        return Answer.NOT_YET_SHOWN
    except WorkflowUpdateFailedError as failed:
        raise Refused(_reason(failed)) from None
    return Answer.DONE


async def signal(client: Client, workflow_id: str, name: str, message: Message) -> None:
    """Tell a workflow by a signal, which needs no worker: Temporal keeps it.

    Raises:
        NotRunning: The workflow is over or unknown.
        ActionError: Temporal does not answer.
    """
    try:
        await client.get_workflow_handle(workflow_id).signal(name, message)
    except RPCError as error:
        raise _translated(error) from error


async def _in_time(task: asyncio.Task[Any], until: float, *, accepted: bool) -> Any:
    """The task's result, if it comes in time.

    The SDK turns a cancellation into an error of its own, so that `asyncio.timeout` would not know
    its own.
    """
    try:
        done, _ = await asyncio.wait(
            {task}, timeout=max(0.0, until - asyncio.get_running_loop().time())
        )
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not done:
        task.cancel()
        await asyncio.wait({task})
        # The SDK's own error is asked for, or Python would print it as one that nobody has seen.
        if not task.cancelled() and task.exception() is None:
            return task.result()
        if accepted:
            raise TimeoutError
        raise NobodyAnswered(
            "no worker took it in time: it may still be carried out when one is back, so look "
            "before asking again"
        )
    try:
        return task.result()
    except RPCError as error:
        raise _translated(error) from error


def _translated(error: RPCError) -> ActionError:
    match error.status:
        case RPCStatusCode.NOT_FOUND:
            return NotRunning("its workflow does not run (any more): `check` compares and mends")
        case RPCStatusCode.RESOURCE_EXHAUSTED:
            return ActionError(
                "the workflow has taken as many messages as it can: wait a moment and try again"
            )
        case _:
            return ActionError(f"Temporal could not deliver it ({error.status.name}): try again")


def _reason(failed: WorkflowUpdateFailedError) -> str:
    cause = failed.cause
    if isinstance(cause, ApplicationError) and cause.type == "Refused":
        return cause.message
    return "the workflow cannot read the message: worker and command are of different versions"
