"""A whole campaign is held and released while it falls due, and processes are killed meanwhile.

`HELD=5000 pytest tests/trouble/test_holds.py` tries it at the size of a real one.
"""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select
from temporalio.client import Client

from drumbeat.actions import holding
from drumbeat.campaign.states import HoldKind, MessageState
from drumbeat.machine.build import ROOT
from drumbeat.store import holds
from drumbeat.store.schema import enrollments, outbox
from tests.temporal_server import TemporalServer
from tests.trouble.stage import SLUG, Stage, in_, people, stage

NUMBER = int(os.environ.get("HELD", "150"))
ENROLLED_A_SECOND = 15
"""Less than that on a busy machine would let them fall due while they are enrolled."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180 + NUMBER)]


@pytest.fixture
async def ready(
    tmp_path: Path, temporal_server: TemporalServer, temporal_client: Client
) -> AsyncIterator[Stage]:
    async with stage(tmp_path, temporal_client, temporal_server.address) as made:
        yield made


async def test_none_leaves_while_held_and_all_go_on_through_kills(ready: Stage) -> None:
    addresses = people(NUMBER)
    due = in_(10 + NUMBER / ENROLLED_A_SECOND)
    first = await ready.start()
    await ready.enroll(addresses, due)
    assert datetime.now(UTC) < due
    told = await holding.hold(ready.desk, HoldKind.CAMPAIGN, SLUG)
    assert told.enrollments == NUMBER
    await ready.kill(first)  # while it tells the workflows
    second = await ready.start()
    await until_all(ready, "held", NUMBER)
    await asyncio.sleep(max((due - datetime.now(UTC)).total_seconds(), 0) + 3)  # all fall due
    assert ready.copies().total() == 0
    assert (await ready.states())[MessageState.SCHEDULED] == NUMBER

    released = await holding.release(ready.desk, [(HoldKind.CAMPAIGN, SLUG)])
    assert released is not None
    assert released.enrollments == NUMBER
    await ready.kill(second)
    await ready.start()
    await ready.until(
        lambda states: states[MessageState.SENT] + states[MessageState.IN_DOUBT] == NUMBER,
        seconds=60 + NUMBER / 4,
    )
    doubts = (await ready.states())[MessageState.IN_DOUBT]
    assert ready.copies() == dict.fromkeys(addresses, 1) or doubts
    assert max(ready.copies().values()) == 1
    assert await undelivered(ready) == 0


async def until_all(of: Stage, state: str, number: int) -> None:
    """So many workflows stand so, and the tables show it."""
    wanted = select(func.count()).where(enrollments.c.state == state)
    async with asyncio.timeout(60 + number / 4):
        while True:
            async with of.store.read() as tx:
                if (await tx.execute(wanted)).scalar_one() == number:
                    return
            await asyncio.sleep(0.2)


async def undelivered(of: Stage) -> int:
    wanted = select(func.count()).select_from(outbox).where(outbox.c.delivered_at.is_(None))
    async with of.store.read() as tx:
        return (await tx.execute(wanted)).scalar_one()


async def test_a_hold_acts_on_who_is_due_in_the_next_moment_before_any_workflow_knows(
    ready: Stage,
) -> None:
    """No worker runs that could tell the workflows: the row alone stops what falls due."""
    await ready.enroll(people(20), in_(3))
    await holding.hold(ready.desk, HoldKind.CAMPAIGN, SLUG)
    async with ready.store.write() as tx:
        # Nobody is told, as if the outbox were far behind.
        await tx.execute(outbox.update().values(not_before=in_(3600)))
    await ready.start()
    await until_all(ready, "held", 20)
    assert ready.copies().total() == 0


async def test_a_command_that_is_killed_has_held_all_or_nobody(ready: Stage) -> None:
    await ready.enroll(people(30), in_(3600))
    outcomes = set()
    for number in range(40):
        command = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "starter.py"),
            "campaign",
            "hold",
            SLUG,
            env=ready.environment,
            stdout=DEVNULL,
            stderr=DEVNULL,
        )
        try:
            async with asyncio.timeout(0.5 + 0.5 * number):
                await command.wait()
        except TimeoutError:
            command.kill()
            await command.wait()
        async with ready.store.read() as tx:
            set_ = await holds.of_target(tx, HoldKind.CAMPAIGN, SLUG, datetime.now(UTC))
            orders = select(func.count()).where(outbox.c.kind == "hold")
            told = (await tx.execute(orders)).scalar_one()
        assert told == 30 * len(set_)
        outcomes.add(bool(set_))
        if set_:
            break
    assert outcomes == {False, True}
    await holding.release(ready.desk, [(HoldKind.CAMPAIGN, SLUG)])
    assert await undelivered(ready) == 60
    await ready.start()
    await until_all(ready, "sleeping", 30)
