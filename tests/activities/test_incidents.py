import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.incidents import IncidentInterceptor
from drumbeat.store.errors import DatabaseUnreachable

ADDRESS = "ada@example.org"


class _Runs(ActivityInboundInterceptor):
    """The end of the chain: runs the activity, as the worker does."""

    def __init__(self) -> None:  # it has no next one
        pass

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        return await input.fn(*input.args)


async def run(work: Callable[..., Any]) -> Any:
    chain = IncidentInterceptor().intercept_activity(_Runs())
    return await chain.execute_activity(
        ExecuteActivityInput(fn=work, args=[], executor=None, headers={})
    )


async def failure_of(work: Callable[..., Any]) -> tuple[ApplicationError, Failure]:
    """What is raised, and what of it would travel to Temporal."""
    with pytest.raises(ApplicationError) as raised:
        await run(work)
    failure = Failure()
    converter = DataConverter.default
    converter.failure_converter.to_failure(raised.value, converter.payload_converter, failure)
    return raised.value, failure


async def raises_an_address() -> None:
    try:
        raise KeyError(ADDRESS)
    except KeyError as error:
        raise ValueError(f"{ADDRESS} cannot be written to") from error


async def test_of_an_exception_its_type_and_a_number_are_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error, failure = await failure_of(raises_an_address)
    assert error.type == "ValueError"
    assert not error.non_retryable
    assert error.next_retry_delay is None
    kind, _, number = str(error.message).partition(", incident ")
    assert kind == "ValueError"
    assert ADDRESS not in str(failure)
    assert not failure.HasField("cause")
    [logged] = caplog.records
    assert number in logged.getMessage()
    assert "raises_an_address" in logged.getMessage()
    assert logged.levelno == logging.ERROR
    assert ADDRESS not in logged.getMessage() + str(logged.exc_info)


async def test_what_hides_behind_an_error_of_ours_does_not_travel() -> None:
    async def translated() -> None:
        try:
            await raises_an_address()
        except ValueError as error:
            raise ApplicationError("no such campaign", type="Gone", non_retryable=True) from error

    error, failure = await failure_of(translated)
    assert (error.message, error.type, error.non_retryable) == ("no such campaign", "Gone", True)
    assert ADDRESS not in str(failure)


async def test_trouble_of_the_database_stays_retryable() -> None:
    async def unreachable() -> None:
        raise DatabaseUnreachable(f"the database of {ADDRESS} cannot be reached")

    error, failure = await failure_of(unreachable)
    assert (error.type, error.non_retryable) == ("DatabaseUnreachable", False)
    assert ADDRESS not in str(failure)


async def test_cancellation_passes_through() -> None:
    async def waits() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(run(waits))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_an_activity_returns_is_handed_on() -> None:
    async def answers() -> str:
        return "done"

    assert await run(answers) == "done"
