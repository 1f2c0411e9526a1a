"""A whole storm: everybody works, processes die, the calm after it, the sum."""

import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import func, select
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from drumbeat.campaign.states import MessageState, State
from drumbeat.machine.build import ROOT, Say
from drumbeat.store.engine import Store, open_store
from drumbeat.store.schema import enrollments, messages, outbox
from storm import reckoning
from storm.plan import Blow, Event, Plan
from storm.reckoning import Death, Sum
from storm.robot import Robot
from storm.scenery import LAST_STEP
from storm.stage import Process, Stage, set_up
from workflows.campaign import CampaignWorkflow
from workflows.messages import CampaignResult

_T = TypeVar("_T")

SAY_EVERY = 15.0
"""Seconds between two lines of progress."""
LOOK_EVERY = 0.5
SETTLES_WITHIN = timedelta(minutes=8)
"""After the last blow: a server that was down is tried again with pauses of some minutes."""


async def storm(plan: Plan, folder: Path, say: Say, database: str | None = None) -> Sum:
    """Carry a storm out in an empty folder, and in an empty database.

    Raises:
        StormFailed: It could not be carried out.
    """
    async with set_up(folder, say, database) as stage:
        store = await open_store(stage.settings.database)
        try:
            return await _Storm(
                plan, stage, store, await Robot.hired(stage, store, plan), say
            ).run()
        finally:
            await store.close()


class _Storm:
    def __init__(self, plan: Plan, stage: Stage, store: Store, robot: Robot, say: Say) -> None:
        self._plan = plan
        self._stage = stage
        self._store = store
        self._robot = robot
        self._say = say
        self._began = time.monotonic()
        self._deaths: list[Death] = []
        self._next_worker = itertools.cycle(
            random.Random(f"{plan.seed}/workers").sample(
                range(len(stage.workers)), len(stage.workers)
            )
        )

    async def run(self) -> Sum:
        self._began = time.monotonic()
        working = asyncio.create_task(self._robot.work())
        telling = asyncio.create_task(self._tell())
        try:
            storming = asyncio.gather(
                *(self._arrive(number) for number in range(len(self._plan.parties))),
                *(self._carry_out(event) for event in self._plan.events),
            )
            await _first_of(storming, working)
            self._say("the storm is over; waiting until everything is settled")
            unsettled = await _first_of(asyncio.create_task(self._settle()), working)
            seconds = time.monotonic() - self._began
        finally:
            for task in (working, telling):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        total = await reckoning.reckon(
            self._store,
            self._stage.inbox,
            expected_people=self._plan.people,
            doubts=list(self._robot.doubts.values()),
            left_at=self._robot.left_at,
            deaths=self._deaths,
        )
        total.seconds = seconds
        total.unsettled = list(unsettled)
        total.differences = [*await self._check(), *await self._compare_ended()]
        total.troubles = self._stage.troubles
        for what, number in self._robot.refusals.most_common():
            self._say(f"told to try again, {number} times: {what}")
        self._say(f"mailboxes released: {self._robot.releases}")
        return total

    # The storm

    async def _sleep_until(self, after: timedelta) -> None:
        await asyncio.sleep(self._began + after.total_seconds() - time.monotonic())

    async def _arrive(self, number: int) -> None:
        party = self._plan.parties[number]
        await self._sleep_until(party.after)
        await self._robot.enroll(party)

    async def _carry_out(self, event: Event) -> None:
        await self._sleep_until(event.after)
        match event.blow:
            case Blow.WORKER_KILLED | Blow.WORKER_STOPPED:
                worker = self._stage.workers[next(self._next_worker)]
                await self._strike(worker, event)
            case Blow.TEMPORAL_KILLED | Blow.TEMPORAL_STOPPED:
                await self._strike(self._stage.temporal, event)
            case Blow.MAIL_KILLED | Blow.MAIL_STOPPED:
                await self._strike(self._stage.mail, event)
            case Blow.WORKERS_KILLED:
                await self._strike_all(event)

    async def _strike(self, process: Process, event: Event) -> None:
        async with process.turn:
            is_kill = event.blow in (Blow.WORKER_KILLED, Blow.TEMPORAL_KILLED, Blow.MAIL_KILLED)
            at = await (process.kill() if is_kill else process.stop())
            self._deaths.append(Death(at, event.blow))
            await asyncio.sleep(event.down.total_seconds())
            await process.start()

    async def _strike_all(self, event: Event) -> None:
        """All workers at once; the first is started again at once, as `up` does."""
        first, *others = self._stage.workers
        for worker in self._stage.workers:
            await worker.turn.acquire()
        try:
            moments = await asyncio.gather(*(worker.kill() for worker in self._stage.workers))
            self._deaths.append(Death(max(moments), event.blow))
            await first.start()
            await asyncio.sleep(event.down.total_seconds())
            await asyncio.gather(*(worker.start() for worker in others))
        finally:
            for worker in self._stage.workers:
                worker.turn.release()

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(SAY_EVERY)
            inbox, robot = self._stage.inbox, self._robot
            self._say(
                f"{time.monotonic() - self._began:.0f} s: {robot.enrolled} of {self._plan.people}"
                f" enrolled, {len(inbox.accepted)} emails accepted, {len(self._deaths)} blows,"
                f" {len(robot.doubts)} doubts"
            )

    # The calm after it

    async def _settle(self) -> Sequence[str]:
        """Wait until nothing is left to do; what is left when it takes too long."""
        deadline = time.monotonic() + SETTLES_WITHIN.total_seconds()
        while True:
            left = await self._left()
            if not left or time.monotonic() > deadline:
                return left
            await asyncio.sleep(LOOK_EVERY)

    async def _left(self) -> Sequence[str]:
        """The enrollments that have still something before them, and what is not delivered."""
        at_its_end = (enrollments.c.step == LAST_STEP) & (enrollments.c.state == State.SLEEPING)
        open_enrollments = select(enrollments.c.id, enrollments.c.step, enrollments.c.state).where(
            enrollments.c.ended_at.is_(None), ~at_its_end
        )
        in_doubt = select(messages.c.enrollment_id, messages.c.step).where(
            messages.c.state.in_([MessageState.IN_DOUBT, MessageState.SENDING])
        )
        waiting = select(func.count()).where(outbox.c.delivered_at.is_(None))
        async with self._store.read() as tx:
            left = [
                f"{row.id} step {row.step} {row.state}"
                for row in await tx.execute(open_enrollments)
            ]
            left += [
                f"{row.enrollment_id} step {row.step} in doubt"
                for row in await tx.execute(in_doubt)
            ]
            number = (await tx.execute(waiting)).scalar_one()
        return [*left, *([f"{number} messages in the outbox"] if number else [])]

    async def _check(self) -> list[str]:
        """What `starter.py check` finds."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "starter.py"),
            "check",
            "--json",
            env=self._stage.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        if not output:
            return [f"check says: {errors.decode().strip()}"]
        report = json.loads(output)
        self._say(f"check has compared {report['checked']} running enrollments")
        return [json.dumps(difference) for difference in report["differences"]]

    async def _compare_ended(self) -> list[str]:
        """Whether the workflows of those who have ended say the same."""
        wanted = select(enrollments).where(enrollments.c.ended_at.is_not(None))
        async with self._store.read() as tx:
            rows = (await tx.execute(wanted)).all()
        found = []
        for row in rows:
            handle: WorkflowHandle[CampaignWorkflow, CampaignResult] = (
                self._stage.client.get_workflow_handle(row.workflow_id, result_type=CampaignResult)
            )
            try:
                result = await handle.result(rpc_timeout=timedelta(seconds=10))
            except RPCError as error:
                found.append(f"{row.id} ended, its workflow: {error.status.name}")
                continue
            if result.outcome != row.outcome:
                found.append(f"{row.id} ended {row.outcome}, its workflow: {result.outcome}")
        return found


async def _first_of(done: asyncio.Future[_T], watched: asyncio.Task[None]) -> _T:
    """What `done` gives; an error of what runs beside it ends both."""
    both: set[asyncio.Future[Any]] = {done, watched}  # of results of two kinds
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if watched.done():
        done.cancel()
        watched.result()
    return await done
