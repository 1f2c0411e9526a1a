"""Starting workflows from the outbox: once, and only while there is something to start."""

import asyncio

import pytest
from sqlalchemy import update
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from drumbeat.actions import enrolling
from drumbeat.actions.starting import MEMO, start_enrollment
from drumbeat.store.engine import Store
from drumbeat.store.schema import enrollments, events, messages, outbox
from tests.actions.clerk import Clerk, campaign, person


@pytest.fixture
def clerk(store: Store, temporal_client: Client, task_queue: str) -> Clerk:
    return Clerk(store, temporal_client, task_queue)


async def written_but_not_started(clerk: Clerk, monkeypatch: pytest.MonkeyPatch) -> str:
    """Ann, as a run leaves her that is killed half-way; the enrollment's id."""

    async def killed(*_: object) -> bool:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(enrolling, "start_workflow", killed)
        with pytest.raises(asyncio.CancelledError):
            await clerk.enroll(campaign(), person("ann"))
    row = await clerk.enrollment("ann")
    assert row.started_at is None
    return str(row.id)


async def start(clerk: Clerk, enrollment_id: str) -> None:
    await start_enrollment(clerk.store, clerk.client, enrollment_id, clerk.task_queue)


async def test_what_a_killed_run_has_left_is_started(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrollment_id = await written_but_not_started(clerk, monkeypatch)
    await start(clerk, enrollment_id)
    row = await clerk.enrollment("ann")
    assert row.started_at is not None
    assert (await clerk.the(outbox)).answer == "delivered"
    started = await clerk.describe(row.workflow_id)
    assert await started.memo_value(MEMO) == enrollment_id
    history = await clerk.client.get_workflow_handle(row.workflow_id).fetch_history()
    assert "ann@" not in history.to_json()


async def test_asked_twice_it_starts_once(clerk: Clerk, monkeypatch: pytest.MonkeyPatch) -> None:
    enrollment_id = await written_but_not_started(clerk, monkeypatch)
    await start(clerk, enrollment_id)
    row = await clerk.enrollment("ann")
    run = (await clerk.describe(row.workflow_id)).run_id
    await start(clerk, enrollment_id)
    async with clerk.store.write() as tx:  # as if it had not come to be noted
        await tx.execute(update(enrollments).values(started_at=None))
    await clerk.client.get_workflow_handle(row.workflow_id).terminate()
    await start(clerk, enrollment_id)
    assert (await clerk.describe(row.workflow_id)).run_id == run
    assert (await clerk.enrollment("ann")).started_at is not None


async def test_an_enrollment_that_ended_before_it_was_started_is_not(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrollment_id = await written_but_not_started(clerk, monkeypatch)
    async with clerk.store.write() as tx:
        await tx.execute(update(enrollments).values(ended_at=enrollments.c.kickoff))
    await start(clerk, enrollment_id)
    row = await clerk.enrollment("ann")
    with pytest.raises(RPCError) as refused:
        await clerk.describe(row.workflow_id)
    assert refused.value.status is RPCStatusCode.NOT_FOUND
    assert (await clerk.the(outbox)).delivered_at is not None


async def test_an_enrollment_that_is_gone_is_nothing_to_start(clerk: Clerk) -> None:
    await start(clerk, "0123456789abcdef")


async def test_an_enrollment_whose_workflow_id_is_taken_is_withdrawn(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrollment_id = await written_but_not_started(clerk, monkeypatch)
    row = await clerk.enrollment("ann")
    await clerk.client.start_workflow(
        "CampaignWorkflow", id=row.workflow_id, task_queue=clerk.task_queue
    )
    await start(clerk, enrollment_id)
    for table in (enrollments, messages, events, outbox):
        assert await clerk.rows(table) == []
