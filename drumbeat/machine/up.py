"""`starter.py up`: everything on this machine, until Ctrl-C."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from datetime import timedelta
from ipaddress import ip_address

from temporalio.service import RPCError

from drumbeat.machine.build import ROOT, BuildFailed, Say
from drumbeat.machine.home import HomeRefused, locked, note_server_version, secret_key
from drumbeat.machine.parts import KeepsDying, Part, Running, is_free
from drumbeat.machine.temporal import Built, DevServer, Elsewhere, Server, choose, describe
from drumbeat.settings import Settings
from drumbeat.store.engine import StoreError, migrate
from drumbeat.temporal.client import TemporalUnreachable, configured_address, connect
from drumbeat.temporal.register import prepare

START_TIMEOUT = timedelta(seconds=60)
"""Until all parts must be ready."""
PORT_PATIENCE = timedelta(seconds=2)
"""The parts of an `up` that was killed a moment ago may still hold their ports."""
WORKER_GRACE = timedelta(minutes=12)
"""A worker ends at once, but for an SMTP answer it waits for: a server may take 10 minutes for its
final reply (RFC 5321, 4.5.3.2.6), and an email whose answer nobody hears is in doubt."""
WAITING_AFTER = timedelta(seconds=8)
"""When a worker that still waits for answers is worth a line."""
WORKER_READY = "worker ready"
"""The line that worker.py writes when it polls."""
EXAMPLE = ROOT / "examples"

PORTS = {
    "DRUMBEAT_WEB_PORT": "web_port",
    "DRUMBEAT_TEMPORAL_PORT": "temporal_port",
    "DRUMBEAT_TEMPORAL_UI_PORT": "temporal_ui_port",
    "DRUMBEAT_SMTP_PORT": "smtp_port",
}


class UpRefused(Exception):
    """It cannot start; the text is one line that says why, and what would help."""


async def up(settings: Settings, *, example: bool) -> int:
    """Start all parts, keep them running until SIGINT or SIGTERM, and stop them.

    The first signal stops in order: the worker, which waits for outstanding SMTP answers, and the
    Command Center; the local mail server; Temporal. The second one ends all at once.

    Args:
        settings: Where the home and the ports are.
        example: Also enroll the example's people, with the example's reps.

    Returns:
        The exit status: 0 when it was stopped, 1 when it could not start or a part kept dying.
    """
    try:
        if example:
            _refuse_a_server_off_this_machine()
            settings = settings.model_copy(update={"reps": EXAMPLE / "reps.yaml"})
        with locked(settings.home):
            await _Machine(settings, example=example, say=_say).run()
    except (
        UpRefused,
        HomeRefused,
        BuildFailed,
        TemporalUnreachable,
        StoreError,
        KeepsDying,
    ) as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    except OSError as error:  # such as a full disk, or a log that belongs to somebody else
        print(f"{error.filename or settings.home}: {error.strerror}", file=sys.stderr, flush=True)
        return 1
    return 0


class _Machine:
    """The parts of one `up`, from the first start to the last stop."""

    def __init__(self, settings: Settings, *, example: bool, say: Say) -> None:
        self._settings = settings
        self._example = example
        self._say = say
        self._running: dict[str, Running] = {}
        self._keepers: set[asyncio.Task[None]] = set()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Start, wait and stop.

        Raises:
            UpRefused: Something it needs is missing; nothing runs any more.
            KeepsDying: A part died too often; nothing runs any more.
        """
        loop = asyncio.get_running_loop()
        signals = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which is how nohup works
            signals.append(signal.SIGHUP)
        for number in signals:
            loop.add_signal_handler(number, self._interrupt)
        starting = asyncio.create_task(self._start())
        starting.add_done_callback(self._end_on_failure)
        try:
            await self._over
        finally:
            starting.cancel()
            with suppress(asyncio.CancelledError, Exception):  # `_over` already tells of it
                await starting
            await self._stop()
            for number in signals:
                loop.remove_signal_handler(number)

    def _interrupt(self) -> None:
        if not self._over.done():
            self._say("stopping (Ctrl-C again ends at once)")
            self._over.set_result(None)
            return
        for running in self._running.values():
            running.kill()

    def _end_on_failure(self, task: asyncio.Task[None]) -> None:
        self._keepers.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._over.done():
            self._over.set_exception(error)

    async def _start(self) -> None:
        settings = self._settings
        await _refuse_taken_ports(settings)
        server = await choose(self._say)
        self._say(describe(server))
        environment = _environment(settings, server)
        if isinstance(server, Built | DevServer):
            if server.version is not None:
                note_server_version(settings.home, server.version)
            temporal_parts = server.parts(settings, os.environ)
            await self._begin(temporal_parts[0])
            await self._until_ready("temporal")
            await self._begin(*temporal_parts[1:])
        await _prepare(environment)
        await migrate(settings.database)
        await self._begin(*_own_parts(settings, environment))
        await self._until_ready(*self._running)
        if self._example:
            await self._enroll_the_example(environment)
        for line in _addresses(settings, server):
            self._say(line)
        self._say("ready")

    async def _begin(self, *parts: Part) -> None:
        for part in parts:
            running = Running(part, self._settings.home / "logs", self._say)
            self._running[part.name] = running
            await running.start()
            keeper = asyncio.create_task(running.keep_alive())
            keeper.add_done_callback(self._end_on_failure)
            self._keepers.add(keeper)

    async def _until_ready(self, *names: str) -> None:
        for name in names:
            running = self._running[name]
            try:
                await asyncio.wait_for(running.ready(), START_TIMEOUT.total_seconds())
            except TimeoutError:
                raise UpRefused(
                    f"{name} was not ready within {START_TIMEOUT.seconds} s: see {running.log}"
                ) from None

    async def _enroll_the_example(self, environment: Mapping[str, str]) -> None:
        """Enroll the example's people; who is enrolled already stays so."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "starter.py"),
            "enroll",
            str(EXAMPLE / "intro" / "campaign.yaml"),
            "--people",
            str(EXAMPLE / "people.csv"),
            "--rep",
            "grace@example.com",
            "--send-at",
            "now",
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output = (await process.communicate())[0].decode(errors="replace").strip()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)  # enrolling may be killed at any moment
                await process.wait()
        if process.returncode:
            raise UpRefused(f"the example could not be enrolled:\n{output}")
        self._say(output)

    async def _stop(self) -> None:
        """Stop the parts in order: who asks others before those who are asked."""
        waiting = asyncio.get_running_loop().call_later(
            WAITING_AFTER.total_seconds(), self._tell_of_waiting
        )
        for names in (("worker", "web"), ("mail",), ("temporal-ui", "temporal")):
            stops: list[Awaitable[None]] = [
                self._running[name].stop() for name in names if name in self._running
            ]
            await asyncio.gather(*stops)
            waiting.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    def _tell_of_waiting(self) -> None:
        self._say("the worker waits for the mail servers' answers to what it has handed over")


def _own_parts(settings: Settings, environment: Mapping[str, str]) -> list[Part]:
    """Drumbeat's own processes, in the order in which they start."""
    python = sys.executable
    mail = ("--port", str(settings.smtp_port), "--maildir", str(settings.home / "mail"))
    return [
        Part(
            "mail",
            (python, "-m", "drumbeat.mail.local", *mail),
            environment,
            port=settings.smtp_port,
        ),
        Part(
            "worker",
            (python, str(ROOT / "worker.py")),
            environment,
            grace=WORKER_GRACE,
            ready_line=WORKER_READY,
        ),
        Part(
            "web",
            (python, "-m", "drumbeat.web"),
            environment,
            grace=timedelta(seconds=5),
            port=settings.web_port,
        ),
    ]


def _environment(settings: Settings, server: Server) -> dict[str, str]:
    """What Drumbeat's own parts get: every setting as `up` has read it, and the server's address.

    A server that `up` starts knows neither TLS nor keys, whatever is set for another one.
    """
    environment = dict(os.environ)
    if not isinstance(server, Elsewhere):
        for name in list(environment):
            if name.startswith(("TEMPORAL_TLS", "TEMPORAL_API_KEY", "TEMPORAL_PROFILE")):
                del environment[name]
        environment["TEMPORAL_ADDRESS"] = f"127.0.0.1:{settings.temporal_port}"
    else:
        environment["TEMPORAL_ADDRESS"] = server.address
    for name, value in settings.model_dump(mode="json", exclude_none=True).items():
        text = value if isinstance(value, str) else json.dumps(value)
        environment[f"DRUMBEAT_{name.upper()}"] = text
    environment["DRUMBEAT_SECRET_KEY"] = settings.secret_key or secret_key(settings.home)
    # Nothing leaves this machine, so a plain-http address and the key made here will do.
    environment["DRUMBEAT_UP"] = "1"
    environment["DRUMBEAT_LOCAL_SMTP"] = f"smtp://127.0.0.1:{settings.smtp_port}"
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    )
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


async def _prepare(environment: Mapping[str, str]) -> None:
    try:
        await prepare(await connect(environment=environment, patience=START_TIMEOUT))
    except (RPCError, TimeoutError) as error:
        raise UpRefused(
            f"the Temporal server at {environment['TEMPORAL_ADDRESS']} could not be prepared: "
            f"{error}"
        ) from error


async def _refuse_taken_ports(settings: Settings) -> None:
    seen: dict[int, str] = {}
    for variable, field in PORTS.items():
        port: int = getattr(settings, field)
        if port in seen:
            raise UpRefused(f"port {port} stands in {seen[port]} and {variable}: change one")
        seen[port] = variable
        started_by_others = configured_address() and field.startswith("temporal")
        if started_by_others:
            continue
        if not await _becomes_free(port, variable):
            raise UpRefused(f"port {port} is taken: set {variable}")


async def _becomes_free(port: int, variable: str) -> bool:
    """Whether the port is free, at once or as soon as the parts of a killed `up` are gone."""
    deadline = time.monotonic() + PORT_PATIENCE.total_seconds()
    while True:
        try:
            if is_free(port):
                return True
        except PermissionError:
            raise UpRefused(f"port {port} needs a privilege: set {variable} above 1023") from None
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.1)


def _refuse_a_server_off_this_machine() -> None:
    """The example's people are no people: they are for a server of this machine alone."""
    address = configured_address()
    if address is None:
        return
    host = address.rsplit(":", 1)[0].strip("[]")
    if host == "localhost":
        return
    with suppress(ValueError):
        if ip_address(host).is_loopback:
            return
    raise UpRefused(
        f"`up --example` is for a Temporal server on this machine, and TEMPORAL_ADDRESS is "
        f"{address}: unset it, or run `up` without --example"
    )


def _addresses(settings: Settings, server: Server) -> list[str]:
    lines = [f"Command Center: {settings.public_url}"]
    if not isinstance(server, Elsewhere):
        lines.append(f"Temporal UI:    http://127.0.0.1:{settings.temporal_ui_port}")
    lines.append(f"Mail folder:    {settings.home / 'mail'}")
    return lines


def _say(line: str) -> None:
    print(line, flush=True)
