"""How late emails leave that fall due one after another, as on most days, with no limits.

As many people as are due at one moment in the other figures fall due here at an even rate: 5,000 in
ten minutes. The floor's workflows are spread alike.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from bench import floor
from bench.crowd import (
    AT_ONCE,
    CAMPAIGN_FILE,
    COMPLETED,
    PATIENCE,
    REPS_FILE,
    SLOWEST_START,
    SPARE,
    ended,
    enroll,
    people_csv,
)
from bench.report import Figure, percentile, phase
from bench.stage import FLOOR_QUEUE, BenchFailed, Stage
from drumbeat.campaign.states import MessageState
from drumbeat.store.engine import Store, migrate, open_store
from drumbeat.store.schema import enrollments, messages, people

NAME = "spread"
A_SECOND = 5000 / 600
TOGETHER = 25
"""People who are enrolled by one command, and due at one moment."""
AIM = 2.0
"""Seconds that the latest but one in a hundred may leave later than the floor's."""


async def measure(stage: Stage, number: int) -> Figure:
    """Let people fall due one group after another, after as many bare workflows.

    Raises:
        BenchFailed: It took too long, or an email is missing.
    """
    number -= number % TOGETHER
    bare = await _floor(stage, number)
    ours = await _campaign(stage, number)
    p99, floor_p99 = percentile(ours, 99), percentile(bare, 99)
    return Figure(
        name=NAME,
        title=f"lateness of {number:,} spread over {number / A_SECOND:.0f} s, p50 and p99",
        measured=f"{percentile(ours, 50):.2f} s, {p99:.2f} s",
        floor=f"{percentile(bare, 50):.2f} s, {floor_p99:.2f} s",
        aim=f"p99 at most {AIM:.0f} s later",
        reached=p99 <= floor_p99 + AIM,
        bound=f"{TOGETHER} are due at one moment, and each waits for those before it.",
        numbers={"p99": p99, "floor_p99": floor_p99},
    )


async def _floor(stage: Stage, number: int) -> Sequence[float]:
    async with stage.floor_worker():
        due = _moments(number)
        slots = asyncio.Semaphore(AT_ONCE)

        async def start(index: int) -> None:
            async with slots:
                await stage.client.start_workflow(
                    floor.WORKFLOW_TYPE,
                    args=[due[index // TOGETHER], 1],
                    id=f"spread/{index}",
                    task_queue=FLOOR_QUEUE,
                )

        with phase(stage.say, f"floor: {number} starts"):
            await asyncio.gather(*(start(index) for index in range(number)))
        with phase(stage.say, f"floor: {number} timers and empty activities, one after another"):
            await _until_past(due)
            await _wait(lambda: _completed(stage, number))
    late = []
    for one in await ended(stage.client, f"WorkflowType = '{floor.WORKFLOW_TYPE}'"):
        prefix, _, index = one.id.partition("/")
        if prefix == "spread" and one.close_time is not None:
            late.append((one.close_time - due[int(index) // TOGETHER]).total_seconds())
    return late


async def _campaign(stage: Stage, number: int) -> Sequence[float]:
    url = stage.settings.database
    await migrate(url)
    stage.settings.reps.write_text(REPS_FILE)
    campaign = stage.folder / "bench.yaml"
    campaign.write_text(CAMPAIGN_FILE)
    lines = people_csv(number).splitlines()
    store = await open_store(url)
    try:
        async with stage.mail_server(), stage.worker():
            due = _moments(number)
            with phase(stage.say, f"Drumbeat: {number} enrollments"):
                for group, at in enumerate(due):
                    rows = lines[1 + group * TOGETHER : 1 + (group + 1) * TOGETHER]
                    file = stage.folder / "people.csv"
                    file.write_text("\n".join([lines[0], *rows, ""]))
                    await enroll(stage, store, campaign, file, at, TOGETHER)
            with phase(stage.say, f"Drumbeat: {number} emails by SMTP, one after another"):
                await _until_past(due)
                await _wait(lambda: _sent(store, number))
        async with store.read() as tx:
            wanted = (
                select(messages.c.sent_at, people.c.email)
                .join(enrollments, enrollments.c.id == messages.c.enrollment_id)
                .join(people, people.c.id == enrollments.c.person_id)
                .where(messages.c.step == 1)
            )
            sent = (await tx.execute(wanted)).all()
    finally:
        await store.close()
    return [(row.sent_at - due[_index(row.email) // TOGETHER]).total_seconds() for row in sent]


def _moments(number: int) -> Sequence[datetime]:
    """When each group is due, UTC: the first one when all are started."""
    first = datetime.now(UTC) + timedelta(seconds=number / SLOWEST_START) + SPARE
    first = first.replace(microsecond=0)
    return [first + timedelta(seconds=index / A_SECOND) for index in range(0, number, TOGETHER)]


async def _until_past(due: Sequence[datetime]) -> None:
    if due[0] < datetime.now(UTC):
        raise BenchFailed("the first were due before the last was started: choose fewer people")
    await asyncio.sleep((due[-1] - datetime.now(UTC)).total_seconds())


async def _wait(is_done: Callable[[], Awaitable[bool]]) -> None:
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while True:
                if await is_done():
                    return
                await asyncio.sleep(0.5)
    except TimeoutError:
        raise BenchFailed("some are missing after the last was due") from None


async def _completed(stage: Stage, number: int) -> bool:
    return (await stage.client.count_workflows(COMPLETED)).count >= number


async def _sent(store: Store, number: int) -> bool:
    wanted = select(func.count()).where(messages.c.step == 1, messages.c.state == MessageState.SENT)
    async with store.read() as tx:
        return int((await tx.execute(wanted)).scalar_one()) >= number


def _index(address: str) -> int:
    """Of `person17@example.org`, 16."""
    return int(address.partition("@")[0].removeprefix("person")) - 1
