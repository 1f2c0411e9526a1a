import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from drumbeat.machine import up as module
from drumbeat.machine.build import ROOT
from drumbeat.machine.temporal import free_ports
from drumbeat.machine.up import up
from drumbeat.settings import Settings
from tests.machine.test_parts import is_alive
from tests.temporal_server import built
from tests.waiting import until

KEPT = ("PATH", "HOME", "XDG_CACHE_HOME")
"""Of this session's environment; whatever else is set must not reach the `up` of a test."""


class Up:
    """A running `up` in a home of its own, with stand-ins for Drumbeat's own parts."""

    def __init__(self, home: Path, ports: list[int]) -> None:
        self.home = home
        self.ports = ports
        self.output = ""
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self, worker: str = "well") -> None:
        built()
        web, temporal, ui, smtp = map(str, self.ports)
        self.output = ""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.machine.fake_parts",
            cwd=ROOT,
            env={
                **{name: os.environ[name] for name in KEPT if name in os.environ},
                "FAKE_WORKER": worker,
                "DRUMBEAT_HOME": str(self.home),
                "DRUMBEAT_WEB_PORT": web,
                "DRUMBEAT_TEMPORAL_PORT": temporal,
                "DRUMBEAT_TEMPORAL_UI_PORT": ui,
                "DRUMBEAT_SMTP_PORT": smtp,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = asyncio.create_task(self._read(self._process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        async for line in process.stdout:
            self.output += line.decode()

    async def says(self, text: str) -> None:
        await until(lambda: text in self.output, what=f"{text!r} is not in:\n{self.output}")

    def signal(self, number: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(number)

    async def end(self) -> int:
        """Wait until it has ended; its exit status."""
        assert self._process and self._reader
        status = await asyncio.wait_for(self._process.wait(), 60)
        await self._reader
        return status

    def processes(self) -> dict[int, str]:
        """The processes that live by this home, by what only they have in their environment."""
        mark = f"DRUMBEAT_HOME={self.home}\0".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().decode()
            except OSError:  # it has just ended
                continue
        return {pid: line for pid, line in found.items() if is_alive(pid)}

    def pid_of(self, part: str) -> int:
        return next(pid for pid, line in self.processes().items() if part in line)


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Up]:
    running = Up(tmp_path / "home", free_ports(4))
    yield running
    for pid in running.processes():
        os.kill(pid, signal.SIGKILL)


async def test_everything_starts_heals_and_stops_in_order(machine: Up) -> None:
    await machine.start()
    await machine.says("\nready\n")
    web, _, ui, _ = machine.ports
    assert f"Command Center: http://127.0.0.1:{web}\n" in machine.output
    assert f"Temporal UI:    http://127.0.0.1:{ui}\n" in machine.output
    assert f"Mail folder:    {machine.home / 'mail'}\n" in machine.output
    assert (machine.home / "temporal.version").read_text() == "1.32.0\n"

    os.kill(machine.pid_of("fake_parts\0web"), signal.SIGKILL)
    await machine.says("web died of SIGKILL and is started again")
    os.kill(machine.pid_of("temporal-server"), signal.SIGKILL)
    await machine.says("temporal died of SIGKILL and is started again")
    await until(lambda: (machine.home / "logs/web.log").read_text().count("web is here") == 2)

    second = Up(machine.home, free_ports(4))
    await second.start()
    assert await second.end() == 1
    assert second.output.count("\n") == 1
    assert "in use by another `up`" in second.output

    machine.signal(signal.SIGTERM)
    assert await machine.end() == 0
    stopped = (machine.home / "stopped").read_text().split()
    assert set(stopped) == {"web", "worker", "mail"}
    assert stopped[-1] == "mail"
    assert machine.processes() == {}


async def test_after_sigkill_nothing_is_left_and_it_starts_again(machine: Up) -> None:
    await machine.start()
    await machine.says("\nready\n")
    machine.signal(signal.SIGKILL)
    await until(lambda: machine.processes() == {})
    await machine.start(worker="stubborn")
    await machine.says("\nready\n")
    machine.signal(signal.SIGINT)
    await until(lambda: "not yet" in (machine.home / "logs/worker.log").read_text())
    machine.signal(signal.SIGINT)
    assert await machine.end() == 0
    assert machine.processes() == {}


async def test_a_part_that_keeps_dying_ends_it_with_its_last_words(machine: Up) -> None:
    await machine.start(worker="broken")
    assert await machine.end() == 1
    assert machine.output.endswith("  the worker's last words\n")
    assert "worker died 5 times within a minute" in machine.output
    assert machine.processes() == {}


def settings(home: Path, **fields: int) -> Settings:
    names = ("web_port", "temporal_port", "temporal_ui_port", "smtp_port")
    return Settings(home=home, **{**dict(zip(names, free_ports(4), strict=True)), **fields})  # type: ignore[arg-type]  # the ports are numbers


@pytest.mark.parametrize("field", ["web_port", "temporal_port", "temporal_ui_port", "smtp_port"])
async def test_a_taken_port_is_one_line_that_names_it_and_the_setting(
    field: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "PORT_PATIENCE", timedelta(0))
    with closing(socket.create_server(("127.0.0.1", *free_ports(1)))) as server:
        port = server.getsockname()[1]
        assert await up(settings(tmp_path, **{field: port}), example=False) == 1
    captured = capsys.readouterr()
    assert captured.err == f"port {port} is taken: set DRUMBEAT_{field.upper()}\n"
    assert captured.out == ""


async def test_a_port_that_the_parts_of_a_killed_up_still_hold_is_waited_for() -> None:
    with closing(socket.create_server(("127.0.0.1", *free_ports(1)))) as server:
        waiting = asyncio.create_task(
            module._becomes_free(server.getsockname()[1], "DRUMBEAT_WEB_PORT")
        )
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting


async def test_one_port_for_two_parts_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (port,) = free_ports(1)
    assert await up(settings(tmp_path, web_port=port, smtp_port=port), example=False) == 1
    assert capsys.readouterr().err == (
        f"port {port} stands in DRUMBEAT_WEB_PORT and DRUMBEAT_SMTP_PORT: change one\n"
    )


async def test_a_home_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert await up(settings(tmp_path / "file" / "home"), example=False) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "DRUMBEAT_HOME" in error


@pytest.mark.parametrize(
    "address", ["temporal.example:7233", "10.0.0.1:7233", "[2001:db8::1]:7233"]
)
async def test_the_example_is_refused_for_a_server_off_this_machine(
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    assert await up(settings(tmp_path / "home"), example=True) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"TEMPORAL_ADDRESS is {address}" in error
    assert not (tmp_path / "home").exists()


async def test_an_older_server_than_the_noted_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "temporal.version").write_text("99.0.0\n")
    assert await up(settings(tmp_path), example=False) == 1
    assert "was written by Temporal server 99.0.0" in capsys.readouterr().err
