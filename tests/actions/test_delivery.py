"""The outbox, with workflows that do not answer."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update
from temporalio import workflow
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from drumbeat.actions.delivery import ACCEPTED, DELIVERED, OVERTAKEN, Delivery
from drumbeat.campaign.states import MessageState
from drumbeat.store import outbox
from drumbeat.store.engine import Store
from drumbeat.store.schema import enrollments, messages
from drumbeat.store.schema import outbox as rows
from tests.web.rows import enrolled
from workflows.messages import Hold, Mended, ResolveDoubt, RetryStep

PATIENCE = timedelta(seconds=1)
PAYLOADS: dict[str, dict[str, object]] = {
    "hold": {"hold_id": "h1"},
    "resolve_doubt": {"sent": False},
}


@workflow.defn(sandboxed=False)
class Deaf:
    """Takes an update and never answers it; a signal is heard."""

    def __init__(self) -> None:
        self._is_held = False
        self._refusals = 0

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self._is_held)

    @workflow.signal
    def hold(self, message: Hold) -> None:
        self._is_held = True

    @workflow.update
    async def mended(self, message: Mended) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update
    async def retry_step(self, message: RetryStep) -> None:
        return

    @workflow.update
    async def resolve_doubt(self, message: ResolveDoubt) -> None:
        return

    @resolve_doubt.validator
    def refuse_twice(self, message: ResolveDoubt) -> None:
        """As a workflow does that has not heard of the doubt yet."""
        self._refusals += 1
        if self._refusals <= 2:
            raise ApplicationError("step 1 is not in doubt", type="Refused")


@pytest.fixture
async def deaf(temporal_client: Client, task_queue: str) -> AsyncIterator[Worker]:
    async with Worker(
        temporal_client,
        task_queue=task_queue,
        workflows=[Deaf],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ) as worker:
        yield worker


async def start(store: Store, client: Client, task_queue: str) -> str:
    """An enrollment whose workflow is a deaf one; its id."""
    enrollment = await enrolled(store, f"ada-{secrets.token_hex(4)}@example.org")
    async with store.read() as tx:
        wanted = select(enrollments.c.workflow_id).where(enrollments.c.id == enrollment)
        workflow_id = (await tx.execute(wanted)).scalar_one()
    await client.start_workflow(Deaf.run, id=workflow_id, task_queue=task_queue)
    return enrollment


async def put(store: Store, enrollment: str, kind: str) -> None:
    async with store.write() as tx:
        now = await store.now(tx)
        payload = PAYLOADS.get(kind, {})
        key = f"{kind}/{enrollment}"
        await outbox.put(tx, enrollment, kind=kind, key=key, payload=payload, now=now)


async def answers(store: Store) -> dict[str, tuple[str | None, bool]]:
    """Kind -> the answer, and whether it is delivered."""
    async with store.read() as tx:
        found = (await tx.execute(select(rows))).all()
    return {row.kind: (row.answer, row.delivered_at is not None) for row in found}


async def test_a_workflow_that_never_answers_keeps_nobody_else_waiting(
    sqlite_store: Store, temporal_client: Client, task_queue: str, deaf: Worker
) -> None:
    for kind in ("mended", "retry_step", "hold"):
        enrollment = await start(sqlite_store, temporal_client, task_queue)
        await put(sqlite_store, enrollment, kind)
    delivery = Delivery(sqlite_store, temporal_client, task_queue, patience=PATIENCE)
    async with asyncio.timeout(20):
        assert await delivery.drain() == 3
    assert await answers(sqlite_store) == {
        "mended": (ACCEPTED, True),
        "retry_step": (DELIVERED, True),
        "hold": (DELIVERED, True),
    }


async def test_an_update_that_nobody_takes_is_tried_again_and_keeps_nobody_else_waiting(
    sqlite_store: Store, temporal_client: Client, task_queue: str
) -> None:
    for kind in ("mended", "hold"):
        enrollment = await start(sqlite_store, temporal_client, task_queue)
        await put(sqlite_store, enrollment, kind)
    delivery = Delivery(sqlite_store, temporal_client, task_queue, patience=PATIENCE)
    async with asyncio.timeout(20):
        assert await delivery.drain() == 2
    found = await answers(sqlite_store)
    assert found["hold"] == (DELIVERED, True)
    answer, is_delivered = found["mended"]
    assert not is_delivered
    assert "no worker took it in time" in str(answer)


async def test_a_doubt_that_its_workflow_has_not_heard_of_is_resolved_later(
    sqlite_store: Store, temporal_client: Client, deaf: Worker
) -> None:
    enrollment = await start(sqlite_store, temporal_client, deaf.task_queue)
    await put(sqlite_store, enrollment, "resolve_doubt")
    delivery = Delivery(sqlite_store, temporal_client, deaf.task_queue)
    for _ in range(2):
        await delivery.drain()
        [(answer, is_delivered)] = (await answers(sqlite_store)).values()
        assert (answer, is_delivered) == ("refused: step 1 is not in doubt", False)
        async with sqlite_store.write() as tx:
            await tx.execute(update(rows).values(not_before=await sqlite_store.now(tx)))
    await delivery.drain()
    assert await answers(sqlite_store) == {"resolve_doubt": (DELIVERED, True)}


async def test_what_ends_a_doubt_says_nothing_of_a_later_one(
    sqlite_store: Store, temporal_client: Client, deaf: Worker
) -> None:
    enrollment = await start(sqlite_store, temporal_client, deaf.task_queue)
    async with sqlite_store.write() as tx:
        now = await sqlite_store.now(tx)
        owner = select(enrollments.c.rep_id).where(enrollments.c.id == enrollment)
        await tx.execute(
            insert(messages).values(
                enrollment_id=enrollment,
                step=1,
                mailbox=owner.scalar_subquery(),
                state=MessageState.IN_DOUBT,
                attempt=2,
                first=True,
                message_id="<1@example.com>",
                updated_at=now,
            )
        )
        for attempt in (1, 2):
            payload = {"step": 1, "sent": False, "attempt": attempt}
            key = f"refused/{attempt}"
            await outbox.put(
                tx, enrollment, kind="resolve_doubt", key=key, payload=payload, now=now
            )
    await Delivery(sqlite_store, temporal_client, deaf.task_queue).drain()
    async with sqlite_store.read() as tx:
        found = (await tx.execute(select(rows.c.key, rows.c.answer))).all()
    assert dict(found[:]) == {
        "refused/1": OVERTAKEN,
        "refused/2": "refused: step 1 is not in doubt",
    }


async def test_a_doubt_that_is_refused_again_and_again_is_left_to_a_person(
    sqlite_store: Store, temporal_client: Client, deaf: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drumbeat.actions.delivery.MOST_REFUSALS", 1)
    enrollment = await start(sqlite_store, temporal_client, deaf.task_queue)
    await put(sqlite_store, enrollment, "resolve_doubt")
    delivery = Delivery(sqlite_store, temporal_client, deaf.task_queue)
    for is_final in (False, True):
        async with sqlite_store.write() as tx:
            await tx.execute(update(rows).values(not_before=await sqlite_store.now(tx)))
        await delivery.drain()
        answer = "refused: step 1 is not in doubt"
        assert await answers(sqlite_store) == {"resolve_doubt": (answer, is_final)}
