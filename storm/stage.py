"""Where it storms: a Temporal server, workers and a mail server of its own, that can be killed.

Everything lies in one folder and listens on free ports of this machine.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio.client import Client

from bench.stage import environment_of
from drumbeat.machine.build import ROOT, Say
from drumbeat.machine.parts import Part, Running
from drumbeat.machine.temporal import Elsewhere, choose, free_ports
from drumbeat.settings import Settings
from drumbeat.store.engine import migrate
from drumbeat.temporal.client import connect
from drumbeat.temporal.register import prepare
from storm.inbox import Inbox
from storm.scenery import REPS_FILE

WORKERS = 2
START_TIMEOUT = timedelta(seconds=60)
STOP_WITHIN = timedelta(seconds=20)
"""What SIGTERM may take: the sends under way finish first."""
WORKER_READY = "worker ready"


class StormFailed(Exception):
    """The storm could not be carried out; the text is one line that says why."""


class Process:
    """A process that can be killed and started again; one that dies alone is started at once."""

    def __init__(self, make: Callable[[], Part], logs: Path, died: Say) -> None:
        self._make = make
        self._logs = logs
        self._died = died
        self._running: Running | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.turn = asyncio.Lock()
        """Held by who kills it until it is back."""

    async def start(self) -> None:
        """Start it, and return when it is ready.

        Raises:
            StormFailed: It does not become ready.
        """
        running = Running(self._make(), self._logs, self._died)
        await running.start()
        self._running = running
        self._keeper = asyncio.create_task(running.keep_alive())
        try:
            await asyncio.wait_for(running.ready(), START_TIMEOUT.total_seconds())
        except TimeoutError:
            end = "\n".join(running.log.read_text(errors="replace").splitlines()[-15:])
            raise StormFailed(f"{running.part.name} did not start:\n{end}") from None

    async def kill(self) -> datetime:
        """End it by SIGKILL; the moment of its death, UTC."""
        assert self._running is not None
        at = datetime.now(UTC)
        self._running.kill()
        await self._gone()
        return at

    async def stop(self) -> datetime:
        """End it by SIGTERM; the moment at which it was told, UTC."""
        assert self._running is not None
        at = datetime.now(UTC)
        await self._running.stop()
        await self._gone()
        return at

    async def close(self) -> None:
        """End it where it runs."""
        if self._running is not None:
            await self.kill()

    async def _gone(self) -> None:
        assert self._keeper is not None
        await self._keeper
        self._running = None


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs."""

    folder: Path
    settings: Settings
    environment: Mapping[str, str]
    """Of every process that is started."""
    client: Client
    temporal: Process
    workers: tuple[Process, ...]
    mail: Process
    inbox: Inbox
    troubles: list[str]
    """Processes that died alone, or did not stop when told to."""


@asynccontextmanager
async def set_up(folder: Path, say: Say, database: str | None = None) -> AsyncIterator[Stage]:
    """Start everything; the processes are gone at the end.

    Args:
        folder: An empty one.
        say: Shows a line of progress.
        database: The URL of an empty database; None: SQLite in the folder.

    Raises:
        StormFailed: There is no server of its own, or a part does not start.
    """
    temporal, ui, smtp, web = free_ports(4)
    settings = Settings(
        home=folder / "var",
        database_url=database or f"sqlite:///{folder / 'var' / 'drumbeat.db'}",
        reps=folder / "reps.yaml",
        base_url="",
        tracking_url="",
        secret_key="a-key-of-the-storm-that-signs-no-public-link",
        web_port=web,
        temporal_port=temporal,
        temporal_ui_port=ui,
        smtp_port=smtp,
        local_smtp=f"smtp://127.0.0.1:{smtp}",
        worker_cache=2000,
        worker_slots=100,
        worker_threads=2,
        task_queue="drumbeat",
        metrics_port=0,
    )
    settings.home.mkdir(parents=True)
    settings.reps.write_text(REPS_FILE)
    logs = folder / "logs"
    logs.mkdir()
    await migrate(settings.database)
    server = await choose(say)
    if isinstance(server, Elsewhere):
        raise StormFailed("the storm kills a server of its own: unset TEMPORAL_ADDRESS")
    environment = environment_of(settings)
    log = folder / "accepted.jsonl"
    troubles: list[str] = []

    def died(what: str) -> None:
        troubles.append(what)
        say(what)

    def temporal_part() -> Part:
        return server.parts(settings, environment)[0]

    def worker_part(number: int) -> Part:
        command = (sys.executable, str(ROOT / "worker.py"))
        return Part(f"worker-{number}", command, environment, STOP_WITHIN, ready_line=WORKER_READY)

    def mail_part() -> Part:
        options = ("--port", str(smtp), "--log", str(log))
        command = (sys.executable, "-m", "storm.mail_server", *options)
        return Part("mail", command, environment, port=smtp)

    processes = [
        Process(temporal_part, logs, died),
        Process(mail_part, logs, died),
        *(
            Process(lambda number=number: worker_part(number), logs, died)  # type: ignore[misc]  # a default that binds the number
            for number in range(1, WORKERS + 1)
        ),
    ]
    try:
        await asyncio.gather(processes[0].start(), processes[1].start())
        client = await connect(environment=environment, patience=START_TIMEOUT)
        await prepare(client)
        await asyncio.gather(*(process.start() for process in processes[2:]))
        yield Stage(
            folder=folder,
            settings=settings,
            environment=environment,
            client=client,
            temporal=processes[0],
            workers=tuple(processes[2:]),
            mail=processes[1],
            inbox=Inbox(log),
            troubles=troubles,
        )
    finally:
        await asyncio.gather(*(process.close() for process in processes))
