"""A worker is killed at every point of the send path: nothing is lost, and nothing doubled."""

import asyncio
import email
import os
import secrets
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, select
from temporalio.client import Client

from drumbeat.actions import enrolling, steering
from drumbeat.actions.deciding import Result
from drumbeat.actions.desk import Desk
from drumbeat.actions.enrolling import Order
from drumbeat.actions.launching import Choices
from drumbeat.campaign.people import read_people
from drumbeat.campaign.reading import read_campaign
from drumbeat.campaign.states import MessageState, Outcome
from drumbeat.machine.build import ROOT
from drumbeat.reps import Reps, read_reps
from drumbeat.store import keys
from drumbeat.store.engine import Store, migrate, open_store
from drumbeat.store.schema import enrollments, messages
from tests.deaths import Death, Promise
from tests.mail.servers import STALL, Doing, Phase, ScriptedServer
from tests.temporal_server import TemporalServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ADDRESS = "ada@example.org"
REPS = """\
reps:
  - email: grace@example.com
    name: Grace Hopper
    timezone: UTC
    mailbox: {{smtp: "smtp://127.0.0.1:{port}", batch: none, daily: none}}
"""
CAMPAIGN = """\
campaign: intro
name: Introduction
days:
  - day: 1
    steps:
      - email: {subject: "One", body: "<p>One.</p>"}
        send: choose
      - email: {body: "<p>Two.</p>"}
        send: same_time
        follow_up: true
"""
AT_THE_SERVER: dict[Death, Phase] = {
    Death.AT_CONNECT: "CONNECT",
    Death.AT_MAIL: "MAIL",
    Death.AT_RCPT: "RCPT",
    Death.AT_DATA: "DATA",
    Death.AT_CONTENT: "CONTENT",
    Death.AT_ACCEPTANCE: "CONTENT",
}
AT_ONCE = 6
"""Deaths that are tried at the same time: nearly all of it is waiting for Temporal's timeouts."""


@dataclass(frozen=True, slots=True)
class Course:
    """How it went with one death."""

    copies_at_death: int
    state: MessageState
    """Of the email, when the restarted worker had done all that it does by itself."""
    copies_before_a_word: int
    outcome: Outcome
    """Of the enrollment, a doubt being resolved by what the mail server has got."""
    copies: tuple[int, ...]
    """Of every Message-ID that was accepted, in the end."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One person's campaign with a database, a mail server and workers of its own."""

    store: Store
    server: ScriptedServer
    desk: Desk
    environment: Mapping[str, str]

    @asynccontextmanager
    async def worker(
        self, point: Death | None = None, stderr: int = DEVNULL
    ) -> AsyncIterator[Process]:
        """A worker, or the one that dies at a point."""
        command: tuple[str, ...] = (str(ROOT / "worker.py"),)
        if point is not None and point not in AT_THE_SERVER:
            command = ("-m", "tests.dying_worker", point)
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, env=self.environment, stdout=DEVNULL, stderr=stderr
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    def kill_at(self, point: Death, process: Process) -> None:
        """Let the mail server kill the worker when it is spoken to."""

        def kill(_: str) -> Doing | None:
            process.kill()
            return STALL if point is Death.AT_CONTENT else None

        self.server.on(AT_THE_SERVER[point], kill)

    async def until(self, *states: MessageState, step: int = 1) -> Row[Any]:
        """Wait until the email is in one of the states."""
        wanted = select(messages).where(messages.c.step == step)
        while True:
            async with self.store.read() as tx:
                row = (await tx.execute(wanted)).one_or_none()
            if row is not None and row.state in states:
                return row
            await asyncio.sleep(0.1)

    async def until_ended(self) -> Outcome:
        """Wait until the enrollment has ended."""
        while True:
            async with self.store.read() as tx:
                outcome = (await tx.execute(select(enrollments.c.outcome))).scalar_one()
            if outcome is not None:
                return Outcome(outcome)
            await asyncio.sleep(0.1)


@asynccontextmanager
async def scene(folder: Path, temporal: TemporalServer, client: Client) -> AsyncIterator[Scene]:
    """Everything but a worker; Ada is enrolled, and her first email is due."""
    folder.mkdir()  # noqa: ASYNC240 (quick)
    url = f"sqlite:///{folder / 'drumbeat.db'}"
    await migrate(url)
    store = await open_store(url)
    queue = f"deaths-{secrets.token_hex(6)}"  # of this database alone, as every queue is

    async def connected() -> Client:
        return client

    try:
        async with ScriptedServer() as server:
            reps = folder / "reps.yaml"
            reps.write_text(REPS.format(port=server.port))
            environment = {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "DRUMBEAT_HOME": str(folder),
                "DRUMBEAT_DATABASE_URL": url,
                "DRUMBEAT_REPS": str(reps),
                "DRUMBEAT_SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz",
                "DRUMBEAT_BASE_URL": "https://drumbeat.example",
                "DRUMBEAT_TASK_QUEUE": queue,
                **temporal.environment,
            }
            campaign, people = folder / "intro.yaml", folder / "people.csv"
            campaign.write_text(CAMPAIGN)
            people.write_text(f"email\n{ADDRESS}\n")
            file = read_campaign(campaign)
            async with store.read() as tx:
                known = Reps(read_reps(reps).reps, await keys.people_key(tx))
            assert file.campaign is not None
            order = Order(
                campaign=file.campaign,
                attachments={},
                people=read_people(people),
                rep=next(iter(known)),
                choices=Choices(send_at="now"),
            )
            report = await enrolling.enroll(store, connected, order, known, task_queue=queue)
            assert report.count(Result.ENROLLED) == 1
            yield Scene(store, server, Desk(store, connected), environment)
    finally:
        await store.close()


async def course(point: Death, scene: Scene) -> Course:
    """Kill a worker at the point, start one that lives, and let everything go on to its end."""
    server = scene.server
    async with scene.worker(point) as process:
        if point in AT_THE_SERVER:
            scene.kill_at(point, process)
        assert await process.wait() == -signal.SIGKILL
    server.behave()
    copies_at_death = len(server.received)
    async with scene.worker() as process:
        row = await scene.until(MessageState.SENT, MessageState.IN_DOUBT)
        copies = sum(row.message_id.encode() in one.content for one in server.received)
        if row.state == MessageState.IN_DOUBT:
            case = await steering.case_of(scene.desk, ADDRESS, "intro")
            await steering.resolve(scene.desk, case, 1, sent=copies > 0)
        outcome = await scene.until_ended()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    ids = Counter(email.message_from_bytes(one.content)["Message-ID"] for one in server.received)
    return Course(
        copies_at_death, MessageState(row.state), copies, outcome, tuple(sorted(ids.values()))
    )


@pytest.fixture(scope="module")
async def courses(
    tmp_path_factory: pytest.TempPathFactory,
    temporal_server: TemporalServer,
    temporal_client: Client,
) -> AsyncIterator[Mapping[Death, asyncio.Task[Course]]]:
    """All deaths, some at a time; each test waits for its own."""
    folder, slots = tmp_path_factory.mktemp("deaths"), asyncio.Semaphore(AT_ONCE)

    async def one(point: Death) -> Course:
        async with slots, asyncio.timeout(250):
            where = folder / point.name.lower()
            async with scene(where, temporal_server, temporal_client) as made:
                return await course(point, made)

    tasks = {point: asyncio.create_task(one(point)) for point in Death}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.parametrize("point", Death, ids=lambda point: point.name.lower())
async def test_what_is_promised_of_a_death_at(
    point: Death, courses: Mapping[Death, asyncio.Task[Course]]
) -> None:
    went = await courses[point]
    assert went.copies_at_death == point.copies
    match point.promise:
        case Promise.SENT_BY_THE_NEXT:
            assert (went.state, went.copies_before_a_word) == (MessageState.SENT, 1)
        case Promise.IN_DOUBT:
            # Not sent again by itself: what the mail server has is what it had.
            assert (went.state, went.copies_before_a_word) == (MessageState.IN_DOUBT, point.copies)
        case Promise.KNOWN:
            assert (went.state, went.copies_before_a_word) == (MessageState.SENT, 1)
    assert went.outcome is Outcome.COMPLETED
    assert went.copies == (1, 1)


@pytest.mark.parametrize("phase", ["MAIL", "DATA", "CONTENT"])
async def test_a_worker_that_is_told_to_stop_finishes_the_send_under_way(
    phase: Phase,
    tmp_path: Path,
    temporal_server: TemporalServer,
    temporal_client: Client,
) -> None:
    async with scene(tmp_path / "scene", temporal_server, temporal_client) as made:
        goes_on = asyncio.Event()
        made.server.once(phase, goes_on)
        async with made.worker(stderr=PIPE) as process:
            assert process.stderr is not None
            await made.server.reached[phase].wait()
            process.send_signal(signal.SIGTERM)
            async for line in process.stderr:
                if b"Beginning worker shutdown" in line:
                    break
            goes_on.set()
            await process.communicate()
            assert process.returncode == 0
        assert len(made.server.received) == 1
        await made.until(MessageState.SENT)
        async with made.worker():
            assert await made.until_ended() is Outcome.COMPLETED
        assert len(made.server.received) == 2


def test_the_document_names_every_point_of_death() -> None:
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in (ROOT / "docs" / "reliability.md").read_text().splitlines()
        if line.startswith("| ")
    ]
    told = [row for row in rows if row[-1] in set(Promise)]
    assert told == [(point, str(point.copies), point.promise) for point in Death]
