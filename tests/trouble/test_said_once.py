"""What goes wrong for many at once is said once, and once more when it is over."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities import incidents
from activities.incidents import IncidentInterceptor
from drumbeat.store.errors import DatabaseUnreachable
from drumbeat.temporal.telling import SAID_AGAIN_AFTER, Connection, Seldom


class Doing(ActivityInboundInterceptor):
    """The end of the chain: raises what it is told to, or succeeds."""

    def __init__(self) -> None:  # it has no next one
        self.raises: Callable[[], Exception] | None = None

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        if self.raises is not None:
            raise self.raises()


async def times(number: int, doing: Doing, interceptor: IncidentInterceptor) -> Sequence[str]:
    """Run as many activities; the texts of their failures."""
    texts = []
    for _ in range(number):
        chain = interceptor.intercept_activity(doing)
        try:
            await chain.execute_activity(
                ExecuteActivityInput(fn=print, args=[], executor=None, headers={})
            )
        except ApplicationError as error:
            assert error.category is ApplicationErrorCategory.BENIGN
            texts.append(error.message)
    return texts


async def test_a_database_that_is_gone_is_told_twice_whoever_needs_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    doing, interceptor = Doing(), IncidentInterceptor()
    doing.raises = lambda: DatabaseUnreachable("the database beat cannot be reached")
    assert await times(1000, doing, interceptor) == ["DatabaseUnreachable"] * 1000
    doing.raises = None
    assert await times(1000, doing, interceptor) == []
    assert [record.getMessage() for record in caplog.records] == [
        "the database beat cannot be reached; whatever needs it waits",
        "the database answers again",
    ]


async def test_one_fault_that_hits_many_is_one_incident(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    doing, interceptor = Doing(), IncidentInterceptor()
    doing.raises = lambda: KeyError("ada@example.org")
    texts = await times(1000, doing, interceptor)
    [text] = set(texts)
    assert text.startswith("KeyError, incident ")
    assert len(caplog.records) == 1
    later = time.monotonic() + incidents.SAID_AGAIN_AFTER.total_seconds()
    monkeypatch.setattr(time, "monotonic", lambda: later)
    await times(10, doing, interceptor)
    assert [record.getMessage().splitlines()[0] for record in caplog.records] == [
        text.replace("KeyError, incident ", "incident ") + ": KeyError",
        text.replace("KeyError, incident ", "incident ") + ": KeyError, 1000 times more",
    ]
    assert "ada@example.org" not in caplog.text


async def test_temporal_that_does_not_answer_is_told_twice(
    temporal_client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "drumbeat.temporal")
    connection = Connection(temporal_client)
    await connection.look()
    assert not connection.is_lost

    async def refuse(**_: object) -> bool:
        raise RPCError("no", RPCStatusCode.UNAVAILABLE, b"")

    with monkeypatch.context() as changed:
        changed.setattr(temporal_client.service_client, "check_health", refuse)
        for _ in range(10):
            await connection.look()
        assert connection.is_lost
    stop = asyncio.Event()
    stop.set()
    await connection.look()
    await connection.run(stop)
    assert [record.getMessage() for record in caplog.records] == [
        "Temporal does not answer (UNAVAILABLE): nothing happens until it does",
        "Temporal answers again",
    ]


def test_what_the_sdk_says_of_many_workflows_is_said_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def said(text: str) -> bool:
        return seldom.filter(logging.LogRecord("core", logging.WARNING, "", 0, text, (), None))

    seldom = Seldom()
    lines = [
        f"[core] Workflow task not found in {number} s {{'run_id': '{number}'}}"
        for number in range(100)
    ]
    assert [said(line) for line in lines] == [True, *[False] * 99]
    assert said("[core] Something else {'run_id': '1'}")
    later = time.monotonic() + SAID_AGAIN_AFTER.total_seconds()
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert said(lines[0])
