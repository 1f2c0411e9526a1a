"""People who fall due, a real worker process, a mail server, and a database that gets into trouble.

A worker's log goes to a file, in which a test counts what was said.
"""

import asyncio
import os
import secrets
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select
from temporalio.client import Client

from drumbeat.actions import enrolling
from drumbeat.actions.deciding import Result
from drumbeat.actions.desk import Desk
from drumbeat.actions.enrolling import Order
from drumbeat.actions.launching import Choices
from drumbeat.campaign.people import read_people
from drumbeat.campaign.reading import read_campaign
from drumbeat.campaign.states import MessageState
from drumbeat.machine.build import ROOT
from drumbeat.reps import Reps, read_reps
from drumbeat.store import keys
from drumbeat.store.engine import Store, migrate, open_store
from drumbeat.store.schema import messages
from tests.mail.servers import ScriptedServer
from tests.waiting import until

SLUG = "intro"
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
  - day: 30
    steps:
      - call: Ask
"""


@dataclass(slots=True)
class Stage:
    """What a test drives."""

    folder: Path
    url: str
    store: Store
    server: ScriptedServer
    client: Client
    environment: Mapping[str, str]
    queue: str
    workers: list[Process] = field(default_factory=list)

    @property
    def desk(self) -> Desk:
        """From where a command acts."""

        async def connected() -> Client:
            return self.client

        return Desk(self.store, connected)

    async def enroll(self, addresses: Sequence[str], at: datetime | None = None) -> None:
        """Enroll people whose first email falls due at a moment, or now."""
        campaign, people = self.folder / "intro.yaml", self.folder / "people.csv"
        campaign.write_text(CAMPAIGN)
        people.write_text("\n".join(["email", *addresses, ""]))
        file = read_campaign(campaign)
        async with self.store.read() as tx:
            known = Reps(
                read_reps(Path(self.environment["DRUMBEAT_REPS"])).reps, await keys.people_key(tx)
            )
        assert file.campaign is not None
        order = Order(
            campaign=file.campaign,
            attachments={},
            people=read_people(people),
            rep=next(iter(known)),
            choices=Choices(send_at=at.isoformat() if at else "now"),
        )
        report = await enrolling.enroll(
            self.store, self.desk.connect, order, known, task_queue=self.queue
        )
        assert report.count(Result.ENROLLED) == len(addresses)

    @property
    def log(self) -> Path:
        """What the workers have said."""
        return self.folder / "worker.log"

    def said(self, words: str) -> int:
        """In how many lines of the workers' log these words stand."""
        return sum(words in line for line in self.lines())

    def lines(self) -> Sequence[str]:
        """The workers' log."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    async def start(self, *command: str) -> Process:
        """Start a worker, the usual one or another, and wait until it is ready."""
        before = self.said("worker ready")
        with self.log.open("ab") as output:
            worker = await asyncio.create_subprocess_exec(
                sys.executable,
                *(command or (str(ROOT / "worker.py"),)),
                env=self.environment,
                stdout=output,
                stderr=output,
            )
        self.workers.append(worker)
        await until(
            lambda: self.said("worker ready") > before or worker.returncode is not None,
            what="the worker is not ready",
        )
        assert worker.returncode is None, self.log.read_text()
        return worker

    async def kill(self, worker: Process) -> None:
        """SIGKILL."""
        worker.kill()
        await worker.wait()

    async def close(self) -> None:
        for worker in self.workers:
            if worker.returncode is None:
                worker.send_signal(signal.SIGKILL)
                await worker.wait()

    async def states(self) -> Counter[str]:
        """How many emails are in which state."""
        wanted = select(messages.c.state, func.count()).group_by(messages.c.state)
        async with self.store.read() as tx:
            return Counter({row[0]: row[1] for row in await tx.execute(wanted)})

    async def until(self, is_so: Callable[[Counter[str]], bool], seconds: float = 100) -> None:
        """Wait until the states of the emails are as wanted."""
        async with asyncio.timeout(seconds):
            while True:
                if is_so(await self.states()):
                    return
                await asyncio.sleep(0.2)

    async def until_sent(self, number: int, seconds: float = 100) -> None:
        """Wait until so many emails are recorded as sent."""
        await self.until(lambda states: states[MessageState.SENT] >= number, seconds)

    def copies(self) -> Counter[str]:
        """How many emails each address has got."""
        return Counter(received.recipients[0] for received in self.server.received)


@asynccontextmanager
async def stage(folder: Path, client: Client, address: str, url: str = "") -> AsyncIterator[Stage]:
    """Everything but people and workers.

    Args:
        folder: Where all is written.
        client: Connected to Temporal.
        address: Temporal's.
        url: The database's; without one, SQLite in the folder.
    """
    url = url or f"sqlite:///{folder / 'drumbeat.db'}"
    await migrate(url)
    store = await open_store(url)
    queue = f"trouble-{secrets.token_hex(6)}"
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
                "TEMPORAL_ADDRESS": address,
            }
            made = Stage(folder, url, store, server, client, environment, queue)
            try:
                yield made
            finally:
                await made.close()
    finally:
        await store.close()


def in_(seconds: float) -> datetime:
    """A moment so many seconds from now."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


def people(number: int, domain: str = "example.org") -> list[str]:
    """So many addresses."""
    return [f"person{index}@{domain}" for index in range(number)]
