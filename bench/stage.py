"""Where it is measured: a Temporal server, a mail server and workers of the bench's own.

Everything lies in a temporary folder, listens on free ports of this machine, and is gone at the
end, after Ctrl-C too.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client

from bench import cpu, floor_worker
from bench.report import Say
from drumbeat.machine.build import ROOT
from drumbeat.machine.parts import Part, Running
from drumbeat.machine.temporal import Elsewhere, choose, describe, free_ports
from drumbeat.settings import Settings
from drumbeat.temporal.client import connect
from drumbeat.temporal.register import prepare

START_TIMEOUT = timedelta(seconds=60)
WORKER_READY = "worker ready"
SPARE_CACHE = 500
"""Cached workflows beyond those of a run: what the run before has left in a worker."""
FLOOR_QUEUE = "floor"


class BenchFailed(Exception):
    """A figure could not be measured; the text is one line that says why."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs while the bench measures."""

    folder: Path
    settings: Settings
    environment: Mapping[str, str]
    """Of every process that is started."""
    client: Client
    say: Say
    processes: dict[str, int]
    """The names and ids of the processes that run now."""

    def cpu(self) -> dict[str, float]:
        """CPU seconds that each process has taken so far, with what it has started itself."""
        taken = {name: cpu.seconds_of_session(pid) for name, pid in self.processes.items()}
        return {**taken, "bench": time.process_time()}

    @asynccontextmanager
    async def mail_server(self) -> AsyncIterator[Path]:
        """Drumbeat's local mail server; gives the Maildir in which every email lands."""
        maildir = self.settings.home / "mail"
        port = self.settings.smtp_port
        command = ("-m", "drumbeat.mail.local", "--port", str(port), "--maildir", str(maildir))
        async with self._running(
            Part("mail", (sys.executable, *command), self.environment, port=port)
        ):
            yield maildir

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        """Drumbeat's worker, as `up` starts it."""
        command = (sys.executable, str(ROOT / "worker.py"))
        part = Part("worker", command, self.environment, ready_line=WORKER_READY)
        async with self._running(part):
            yield

    @asynccontextmanager
    async def floor_worker(self) -> AsyncIterator[None]:
        """The floor's worker, with the settings of Drumbeat's."""
        command = (sys.executable, "-m", "bench.floor_worker")
        environment = {**self.environment, "DRUMBEAT_TASK_QUEUE": FLOOR_QUEUE}
        part = Part("floor", command, environment, ready_line=floor_worker.READY)
        async with self._running(part):
            yield

    @asynccontextmanager
    async def _running(self, part: Part) -> AsyncIterator[None]:
        async with running(part, self.folder / "logs", self.say, self.processes):
            yield


@asynccontextmanager
async def set_up(people: int, say: Say) -> AsyncIterator[Stage]:
    """Start a Temporal server of the bench's own; everything is gone afterwards.

    Args:
        people: How many workflows are due together: a worker keeps them all in memory.
        say: Shows a line of progress.

    Raises:
        BenchFailed: There is no server, or a part does not start.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="drumbeat-bench-")))
        temporal, ui, smtp, web = free_ports(4)
        settings = Settings(
            home=folder / "var",
            database_url=f"sqlite:///{folder / 'var' / 'drumbeat.db'}",
            reps=folder / "reps.yaml",
            base_url="",
            tracking_url="",
            secret_key="a-key-of-the-bench-that-signs-no-public-link",
            web_port=web,
            temporal_port=temporal,
            temporal_ui_port=ui,
            smtp_port=smtp,
            local_smtp=f"smtp://127.0.0.1:{smtp}",
            worker_cache=max(2000, people + SPARE_CACHE),
            worker_slots=100,
            worker_threads=2,
            task_queue="drumbeat",
        )
        settings.home.mkdir()
        server = await choose(say)
        if isinstance(server, Elsewhere):
            raise BenchFailed("the bench starts a server of its own: unset TEMPORAL_ADDRESS")
        say(describe(server))
        environment = environment_of(settings)
        part = server.parts(settings, environment)[0]
        (folder / "logs").mkdir()
        processes: dict[str, int] = {}
        await stack.enter_async_context(running(part, folder / "logs", say, processes))
        client = await connect(environment=environment, patience=START_TIMEOUT)
        await prepare(client)
        yield Stage(folder, settings, environment, client, say, processes)


def environment_of(settings: Settings) -> dict[str, str]:
    """What a process gets that is to run with these settings against their own server."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TEMPORAL", "DRUMBEAT"))}
    named = {
        f"DRUMBEAT_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.model_dump(mode="json").items()
    }
    return {
        **inherited,
        **named,
        "DRUMBEAT_UP": "1",  # a plain-http address will do: nothing leaves this machine
        "TEMPORAL_ADDRESS": f"127.0.0.1:{settings.temporal_port}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }


@asynccontextmanager
async def running(
    part: Part, logs: Path, say: Say, processes: dict[str, int]
) -> AsyncIterator[None]:
    """Run a process until the end of the block; meanwhile its id stands among the processes.

    Raises:
        BenchFailed: It does not become ready, or dies meanwhile: what it did would be no measure.
    """
    process = Running(part, logs, say)
    before = cpu.children()
    await process.start()
    if new := cpu.children() - before:
        processes[part.name] = new.pop()
    try:
        try:
            await asyncio.wait_for(process.ready(), START_TIMEOUT.total_seconds())
        except TimeoutError:
            raise BenchFailed(f"{part.name} did not start:\n{_end_of(process.log)}") from None
        yield
    finally:
        processes.pop(part.name, None)
        await process.stop()


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
