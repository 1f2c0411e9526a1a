"""Many enrollments at once, and as many bare workflows: started together, due together.

Both runs use one server one after the other, the floor first, each with one worker process. The
campaign has a second email days later, so that a run is what a campaign is most of the time: an
email is sent, the next one is waited for. What follows is one step of both: a timer, an activity.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select
from temporalio.client import Client, WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from bench import floor
from bench.report import Say, phase
from bench.stage import FLOOR_QUEUE, BenchFailed, Stage
from drumbeat.actions import enrolling
from drumbeat.actions.deciding import Result
from drumbeat.actions.enrolling import Order
from drumbeat.actions.launching import Choices
from drumbeat.campaign.people import read_people
from drumbeat.campaign.reading import read_campaign
from drumbeat.campaign.states import MessageState
from drumbeat.reps import Reps, read_reps
from drumbeat.store import keys
from drumbeat.store.engine import Store, migrate, open_store
from drumbeat.store.schema import messages

AT_ONCE = enrolling.AT_ONCE
"""Starts under way at the same time, the floor's too."""
SLOWEST_START = 25
"""Enrollments a second: with fewer, the emails would fall due while people are enrolled."""
SPARE = timedelta(seconds=10)
"""Between the last start and the moment at which all are due: the first tasks are over by then."""
PATIENCE = timedelta(minutes=4)
COMPLETED = f"TaskQueue = '{FLOOR_QUEUE}' AND ExecutionStatus = 'Completed'"
"""The floor's workflows, for the server's list."""
LOOK_EVERY = 0.5
"""Seconds between two looks whether all is done."""

REP = "grace@example.com"
REPS_FILE = f"""\
reps:
  - email: {REP}
    name: Grace Hopper
    title: Account executive
    timezone: UTC
    mailbox:
      batch: none
      daily: none
"""
CAMPAIGN_FILE = """\
campaign: bench
name: Bench
settings:
  timezone: UTC
days:
  - day: 1
    steps:
      - email:
          subject: "A question about {{ company }}"
          body: |
            <p>Hello {{ first_name }},</p>
            <p>teams like yours at {{ company }} told us that moving their reports by hand costs
            them a day a week. Would it help to see how others got rid of that?</p>
            <p>Best regards,<br>{{ my_name }}<br>{{ my_title }}</p>
        send: choose
  - day: 4
    steps:
      - email:
          body: "<p>Hello {{ first_name }}, is this of interest?</p>"
        send: same_time
        follow_up: true
"""


@dataclass(frozen=True, slots=True)
class Run:
    """How one of the two runs went."""

    number: int
    start_seconds: float
    """Until all were started."""
    late: tuple[float, ...]
    """Seconds from the common moment until each was done, ascending."""
    start_cpu: Mapping[str, float]
    """CPU seconds, by process, until all were started."""
    cpu: Mapping[str, float]
    """CPU seconds, by process, from the common moment until the last was done."""

    def cpu_each(self) -> dict[str, float]:
        """CPU milliseconds that one took to be done, by process, the largest share first."""
        return _each(self.cpu, self.number)

    def start_cpu_each(self) -> dict[str, float]:
        """CPU milliseconds that one took to be started, by process, the largest share first."""
        return _each(self.start_cpu, self.number)

    @property
    def starts_per_second(self) -> float:
        """How many were started a second."""
        return self.number / self.start_seconds

    @property
    def done_per_second(self) -> float:
        """How many were done a second, from the common moment until the last."""
        return self.number / self.late[-1]


async def run_floor(stage: Stage, number: int) -> Run:
    """Start bare workflows that are all due at one moment, and wait for the last one's end.

    Raises:
        BenchFailed: It took too long.
    """
    async with stage.floor_worker():
        due_at = _common_moment(number)
        with phase(stage.say, f"floor: {number} starts, {AT_ONCE} at once"):
            before = stage.cpu()
            seconds = await _start_bare(stage.client, number, due_at)
            start_cpu = _taken(before, stage.cpu())
        await _until_due(due_at, stage.say)
        with phase(stage.say, f"floor: {number} timers and empty activities"):
            before = stage.cpu()
            await _until(lambda: _completed(stage.client), number, "completions")
            cpu = _taken(before, stage.cpu())
    ends = [one.close_time for one in await ended(stage.client, COMPLETED) if one.close_time]
    return Run(number, seconds, _lateness(due_at, ends), start_cpu, cpu)


async def ended(client: Client, query: str) -> list[WorkflowExecution]:
    """The workflows of a query; a server that has just been busy is asked again for a page."""
    # Small pages: with each row such a server reads the attributes anew, and bounds that.
    pages = client.list_workflows(query, page_size=100)
    found: list[WorkflowExecution] = []
    while True:
        try:
            await pages.fetch_next_page()
        except RPCError as error:
            if error.status is not RPCStatusCode.RESOURCE_EXHAUSTED:
                raise
            await asyncio.sleep(1)
            continue
        found += pages.current_page or ()
        if not pages.next_page_token:
            return found


async def run_campaign(stage: Stage, number: int) -> Run:
    """Enroll people whose first email is due at one moment, and wait until the last is sent.

    Raises:
        BenchFailed: It took too long, or an email is missing.
    """
    url = stage.settings.database
    await migrate(url)
    people = stage.folder / "people.csv"
    people.write_text(people_csv(number))
    stage.settings.reps.write_text(REPS_FILE)
    campaign = stage.folder / "bench.yaml"
    campaign.write_text(CAMPAIGN_FILE)
    store = await open_store(url)
    try:
        async with stage.mail_server() as maildir, stage.worker():
            due_at = _common_moment(number)
            with phase(stage.say, f"Drumbeat: {number} enrollments, {AT_ONCE} starts at once"):
                before = stage.cpu()
                seconds = await enroll(stage, store, campaign, people, due_at, number)
                start_cpu = _taken(before, stage.cpu())
            await _until_due(due_at, stage.say)
            with phase(stage.say, f"Drumbeat: {number} emails by SMTP"):
                before = stage.cpu()
                await _until(lambda: _sent(store), number, "emails")
                cpu = _taken(before, stage.cpu())
            arrived = len(list((maildir / "new").iterdir()))
        if arrived != number:
            raise BenchFailed(f"{number} emails were sent, {arrived} lie in the Maildir")
        async with store.read() as tx:
            found = await tx.execute(select(messages.c.sent_at).where(messages.c.step == 1))
            sent = list(found.scalars())
    finally:
        await store.close()
    return Run(number, seconds, _lateness(due_at, sent), start_cpu, cpu)


def people_csv(number: int) -> str:
    """So many people, as a CSV file."""
    rows = [
        f"person{index}@example.org,Person{index},Example,Company {index}"
        for index in range(1, number + 1)
    ]
    return "\n".join(["email,first_name,last_name,company", *rows, ""])


async def _start_bare(client: Client, number: int, due_at: datetime) -> float:
    slots = asyncio.Semaphore(AT_ONCE)

    async def start(index: int) -> None:
        async with slots:
            await client.start_workflow(
                floor.WORKFLOW_TYPE,
                args=[due_at, 1],
                id=f"floor/{index}",
                task_queue=FLOOR_QUEUE,
            )

    began = time.perf_counter()
    await asyncio.gather(*(start(index) for index in range(number)))
    return time.perf_counter() - began


async def enroll(
    stage: Stage, store: Store, campaign: Path, people: Path, due_at: datetime, number: int
) -> float:
    """Read the files and enroll, as the command does; the seconds that it took."""
    settings = stage.settings
    reading = read_reps(settings.reps, local_smtp=settings.local_smtp)
    async with store.read() as tx:
        reps = Reps(reading.reps, await keys.people_key(tx))
    rep = reps.by_address(REP)
    file = read_campaign(campaign)
    if rep is None or file.campaign is None:
        raise BenchFailed(f"the bench's own files are wrong: {reading.faults}, {file.faults}")
    began = time.perf_counter()
    order = Order(
        campaign=file.campaign,
        attachments=file.attachments,
        people=read_people(people),
        rep=rep,
        choices=Choices(send_at=due_at.isoformat()),
    )

    async def connected() -> Client:
        return stage.client

    report = await enrolling.enroll(store, connected, order, reps, task_queue=settings.task_queue)
    seconds = time.perf_counter() - began
    if report.count(Result.ENROLLED) != number:
        raise BenchFailed(f"only {report.count(Result.ENROLLED)} of {number} were enrolled")
    return seconds


def _common_moment(number: int) -> datetime:
    """When all that are started from now on are due, UTC."""
    moment = datetime.now(UTC) + timedelta(seconds=number / SLOWEST_START) + SPARE
    return moment.replace(microsecond=0)


async def _until_due(due_at: datetime, say: Say) -> None:
    left = (due_at - datetime.now(UTC)).total_seconds()
    if left < 0:
        raise BenchFailed(
            "all were due before the last was started: this machine is too slow for so many,"
            " choose fewer with --people"
        )
    say(f"all are due in {left:.0f} s …")
    await asyncio.sleep(left)


async def _until(count: Callable[[], Awaitable[int]], number: int, what: str) -> None:
    """Look now and then until all are done."""
    deadline = time.monotonic() + PATIENCE.total_seconds()
    while (done := await count()) < number:
        if time.monotonic() > deadline:
            raise BenchFailed(f"only {done} of {number} {what} after {PATIENCE.seconds} s")
        await asyncio.sleep(LOOK_EVERY)


async def _completed(client: Client) -> int:
    return (await client.count_workflows(COMPLETED)).count


async def _sent(store: Store) -> int:
    async with store.read() as tx:
        wanted = select(func.count()).where(
            messages.c.step == 1, messages.c.state == MessageState.SENT
        )
        return int((await tx.execute(wanted)).scalar_one())


def _lateness(due_at: datetime, done: Sequence[datetime]) -> tuple[float, ...]:
    return tuple(sorted((at - due_at).total_seconds() for at in done))


def _taken(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: seconds - before[name] for name, seconds in after.items()}


def _each(cpu: Mapping[str, float], number: int) -> dict[str, float]:
    ordered = sorted(cpu.items(), key=lambda item: -item[1])
    return {name: seconds / number * 1000 for name, seconds in ordered}
