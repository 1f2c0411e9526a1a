"""The people of a storm: reps who work their tasks, ops who look after mailboxes, and who leaves.

They act as anybody does, by Drumbeat's own actions; what does not go through is tried again.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, select
from temporalio.client import Client
from temporalio.service import RPCError

from drumbeat.actions import enrolling, mailboxes, steering, suppressing, tasks
from drumbeat.actions.deciding import Result
from drumbeat.actions.desk import Desk
from drumbeat.actions.enrolling import Order
from drumbeat.actions.errors import ActionError
from drumbeat.actions.launching import Choices
from drumbeat.campaign.people import read_people
from drumbeat.campaign.reading import read_campaign
from drumbeat.campaign.states import HoldKind, MessageState, TaskStatus
from drumbeat.reps import Reps, read_reps
from drumbeat.store import holds, keys, restoring
from drumbeat.store.engine import Store
from drumbeat.store.errors import StoreError
from drumbeat.store.schema import enrollments, messages, people
from drumbeat.store.schema import tasks as tasks_table
from drumbeat.temporal.client import TemporalUnreachable
from storm.plan import Leaving, Party, Plan
from storm.scenery import CAMPAIGN, CAMPAIGN_FILE, LAST_STEP, REPS, number_of, people_csv
from storm.stage import Stage, StormFailed

LOOK_EVERY = 0.5
"""Seconds between two rounds of the robot."""
AT_ONCE = 20
LONGEST_CALL = timedelta(seconds=10)
"""A call is made at most that long after its task has opened; sooner in a short storm."""
DOUBT_SETTLES = timedelta(seconds=2)
"""A person looks into the mail server's log that long after an email is shown as in doubt: nothing
is on its way there any more."""

EXPECTED = (ActionError, RPCError, TemporalUnreachable, StoreError)
"""What a person is told while something is down; they try again."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """An email that was in doubt, and what the robot said about it."""

    enrollment: str
    step: int
    handed_over_at: datetime
    """The mark, UTC."""
    was_sent: bool
    """By the mail server's log."""


class Robot:
    """Everybody who acts in a storm."""

    def __init__(self, stage: Stage, store: Store, reps: Reps, plan: Plan) -> None:
        self._stage = stage
        self._store = store
        self._reps = reps
        self._plan = plan
        self._chance = random.Random(f"{plan.seed}/robot")
        self._longest_call = min(LONGEST_CALL, plan.lasts / 6)
        self._call_at: dict[str, datetime] = {}
        self._seen: dict[tuple[str, int, datetime], datetime] = {}
        self.doubts: dict[tuple[str, int, datetime], Doubt] = {}
        self.left_at: dict[str, datetime] = {}
        """When somebody had left, by address, UTC."""
        self.enrolled = 0
        self.releases = 0
        """How often a held mailbox was released."""
        self.refusals: Counter[str] = Counter()
        """What did not go through at once."""
        self.desk = Desk(store, self._connected)

    @classmethod
    async def hired(cls, stage: Stage, store: Store, plan: Plan) -> "Robot":
        """A robot that knows the reps' file."""
        reading = read_reps(stage.settings.reps, local_smtp=stage.settings.local_smtp)
        assert not reading.faults, reading.faults
        async with store.read() as tx:
            reps = Reps(reading.reps, await keys.people_key(tx))
        return cls(stage, store, reps, plan)

    async def _connected(self) -> Client:
        return self._stage.client

    # Enrolling

    async def enroll(self, party: Party) -> None:
        """Enroll people, first email now; again until all are."""
        folder = self._stage.folder
        campaign = folder / f"{CAMPAIGN}.yaml"
        campaign.write_text(CAMPAIGN_FILE)
        file = read_campaign(campaign)
        rep = self._reps.by_address(REPS[party.rep])
        assert file.campaign is not None, file.faults
        assert rep is not None
        csv = folder / f"people-{party.people[0]}.csv"
        csv.write_text(people_csv(party.people))
        order = Order(
            campaign=file.campaign,
            attachments=file.attachments,
            people=read_people(csv),
            rep=rep,
            choices=Choices(send_at="now"),
        )
        while True:
            try:
                report = await enrolling.enroll(
                    self._store,
                    self._connected,
                    order,
                    self._reps,
                    task_queue=self._stage.settings.task_queue,
                )
            except EXPECTED as error:
                self.refusals[f"enroll: {type(error).__name__}"] += 1
                await asyncio.sleep(LOOK_EVERY)
                continue
            done = report.count(Result.ENROLLED) + report.count(Result.ALREADY)
            assert done == len(party.people), report
            self.enrolled += done
            return

    # Working

    async def work(self) -> None:
        """Do all that is to be done, round after round, until cancelled."""
        while True:
            self._stage.inbox.look()
            await self.round()
            await asyncio.sleep(LOOK_EVERY)

    async def round(self) -> None:
        """One round."""
        now = datetime.now(UTC)
        try:
            async with self._store.read() as tx:
                calls = (await tx.execute(_OPEN_CALLS)).all()
                doubts = (await tx.execute(_DOUBTS)).all()
                held = [
                    rep
                    for rep in self._reps
                    if await holds.of_target(tx, HoldKind.MAILBOX, self._reps.id_of(rep), now)
                ]
                if await restoring.held_by_it(tx, now):
                    raise StormFailed("the mailboxes are held as if a backup had been restored")
        except StoreError as error:
            self.refusals[f"read: {type(error).__name__}"] += 1
            return
        work = [("call", self._call(row.id)) for row in calls if self._is_time_to_call(row.id, now)]
        work += [("resolve", self._resolve(row)) for row in doubts if self._has_settled(row, now)]
        work += [("release", self._release(rep.email)) for rep in held]
        work += [
            ("leave", self._leave(whose))
            for whose, number in self._stage.inbox.arrived.items()
            if self._leaves(whose, number)
        ]
        slots = asyncio.Semaphore(AT_ONCE)

        async def do(what: str, one: Coroutine[Any, Any, None]) -> None:
            async with slots:
                try:
                    await one
                except EXPECTED as error:
                    self.refusals[f"{what}: {type(error).__name__}"] += 1

        await asyncio.gather(*(do(what, one) for what, one in work))

    def _is_time_to_call(self, task_id: str, now: datetime) -> bool:
        if task_id not in self._call_at:
            self._call_at[task_id] = now + self._longest_call * self._chance.random()
        return self._call_at[task_id] <= now

    async def _call(self, task_id: str) -> None:
        await tasks.complete(self.desk, task_id, note="Nice talk")

    def _has_settled(self, row: Row[Any], now: datetime) -> bool:
        key = (row.enrollment_id, row.step, row.handing_over_at)
        return now >= self._seen.setdefault(key, now) + DOUBT_SETTLES

    async def _resolve(self, row: Row[Any]) -> None:
        """Say what the mail server has got: this is the person's word."""
        self._stage.inbox.look()
        was_sent = self._stage.inbox.copies[row.message_id] > 0
        key = (row.enrollment_id, row.step, row.handing_over_at)
        self.doubts[key] = Doubt(*key, was_sent)
        case = await steering.case_in_doubt(self.desk, row.email, CAMPAIGN, row.step)
        await steering.resolve(self.desk, case, row.step, sent=was_sent)

    async def _release(self, mailbox: str) -> None:
        if self._stage.mail.turn.locked():
            return  # it is down: nothing to release it for
        await mailboxes.release(self.desk, self._reps, [mailbox], reason="the server is back")
        self.releases += 1

    def _leaves(self, whose: str, number: int) -> bool:
        departure = self._plan.departures.get(number_of(whose))
        return departure is not None and whose not in self.left_at and number >= departure.emails

    async def _leave(self, whose: str) -> None:
        how = self._plan.departures[number_of(whose)].how
        if how is Leaving.REMOVED:
            await steering.end(self.desk, whose, CAMPAIGN, reason="not interested")
        else:
            wanted = (
                select(enrollments.c.id)
                .join(people, people.c.id == enrollments.c.person_id)
                .where(people.c.email == whose)
            )
            async with self._store.read() as tx:
                found = (await tx.execute(wanted)).scalar_one()
            await suppressing.unsubscribe_enrollment(self._store, found, None)
        self.left_at[whose] = datetime.now(UTC)


_OPEN_CALLS = select(tasks_table.c.id).where(
    tasks_table.c.status == TaskStatus.OPEN, tasks_table.c.step != LAST_STEP
)
_DOUBTS = (
    select(messages, people.c.email)
    .join(enrollments, enrollments.c.id == messages.c.enrollment_id)
    .join(people, people.c.id == enrollments.c.person_id)
    .where(messages.c.state == MessageState.IN_DOUBT)
)
