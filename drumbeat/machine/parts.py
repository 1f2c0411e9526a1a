"""The processes that `up` starts: each one watched, logged, started again, and stopped."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from drumbeat.machine import tied
from drumbeat.machine.build import Say

MOST_DEATHS = 5
"""A part that dies this often within `DEATHS_WITHIN` will not get well by itself."""
DEATHS_WITHIN = timedelta(minutes=1)
LOG_LIMIT = 10_000_000
"""A longer log, in bytes, is put aside at the part's next start."""
LOOK_EVERY = 0.05
"""Seconds between two looks whether a part is ready."""


class KeepsDying(Exception):
    """A part died too often; the text ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Part:
    """A process to run."""

    name: str
    """Also its log's: `logs/NAME.log`."""
    command: tuple[str, ...]
    environment: Mapping[str, str]
    grace: timedelta = timedelta(seconds=3)
    """From SIGTERM, which asks it to end, to SIGKILL."""
    port: int | None = None
    """It is ready when something answers on this port of 127.0.0.1 …"""
    ready_line: str | None = None
    """… or when this line stands in its log."""


class Running:
    """A part that runs; when it dies alone it is started again.

    It has a session of its own, so that the terminal's Ctrl-C reaches `up` alone, and so that
    whatever it starts itself can be ended with it.
    """

    def __init__(self, part: Part, logs: Path, say: Say) -> None:
        self.part = part
        self.log = logs / f"{part.name}.log"
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._log_start = 0
        self._deaths: deque[float] = deque()
        self._stopping = False

    async def start(self) -> None:
        """Start the process; its output goes to the log."""
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        with self.log.open("ab") as output:
            self._log_start = output.tell()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                tied.__file__,
                str(os.getpid()),
                *self.part.command,
                env=self.part.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )

    async def keep_alive(self) -> None:
        """Start the process again whenever it dies, until it is stopped.

        Raises:
            KeepsDying: It died five times within a minute.
        """
        while True:
            if self._process is None:
                return
            status = await self._process.wait()
            self._signal(signal.SIGKILL)  # what it had started itself
            if self._stopping:
                return
            now = time.monotonic()
            self._deaths.append(now)
            while self._deaths[0] < now - DEATHS_WITHIN.total_seconds():
                self._deaths.popleft()
            if len(self._deaths) >= MOST_DEATHS:
                raise KeepsDying(
                    f"{self.part.name} died {MOST_DEATHS} times within a minute, the last time "
                    f"{_how(status)}; {self.log} ends:\n{self._last_lines()}"
                )
            self._say(f"{self.part.name} died {_how(status)} and is started again; see {self.log}")
            await self.start()
            if self._stopping:  # it was stopped while it started
                self._signal(signal.SIGKILL)

    async def ready(self) -> None:
        """Wait until the part answers on its port, or has written its line since its start."""
        while True:
            if self._is_ready():
                return
            await asyncio.sleep(LOOK_EVERY)

    async def stop(self) -> None:
        """Ask the process to end and wait; after its grace it is killed."""
        self._stopping = True
        if self._process is None:
            return
        self._signal(signal.SIGTERM, group=False)
        try:
            await asyncio.wait_for(self._process.wait(), self.part.grace.total_seconds())
        except TimeoutError:
            self._say(f"{self.part.name} did not stop in time and is killed")
        self.kill()
        await self._process.wait()

    def kill(self) -> None:
        """End the process, and all that it started, at once."""
        self._stopping = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals, *, group: bool = True) -> None:
        """Signal the process; with `group` also what it started, after its own death too."""
        if self._process is None:
            return
        try:
            if group:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)
        except ProcessLookupError:
            return  # nobody is left

    def _is_ready(self) -> bool:
        if self.part.ready_line is not None:
            with self.log.open("rb") as log:
                log.seek(self._log_start)
                return self.part.ready_line.encode() in log.read().splitlines()
        return self.part.port is None or answers(self.part.port)

    def _last_lines(self, number: int = 15) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"  {line[:400]}" for line in lines[-number:])


def answers(port: int) -> bool:
    """Whether something listens on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_free(port: int) -> bool:
    """Whether a server can listen on this port of 127.0.0.1.

    Raises:
        PermissionError: The port is one of those that need a privilege.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise
        except OSError:
            return False
        return True


def _how(status: int) -> str:
    if status < 0:
        return f"of {signal.Signals(-status).name}"
    return f"with status {status}"
