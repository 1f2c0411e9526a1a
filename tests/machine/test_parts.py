import asyncio
import os
import signal
import socket
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from drumbeat.machine import parts
from drumbeat.machine.build import ROOT
from drumbeat.machine.parts import KeepsDying, Part, Running, answers, is_free
from tests.ports import free_port
from tests.waiting import until


def part(code: str, **options: object) -> Part:
    """A part that runs this Python code."""
    return Part("thing", (sys.executable, "-u", "-c", code), os.environ, **options)  # type: ignore[arg-type]  # the options differ in type


def is_alive(pid: int) -> bool:
    """Whether the process still does something: a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return status != "Z"


async def test_a_part_that_dies_alone_is_started_again_with_a_line_that_says_so(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    code = "import os, time; print(os.getpid()); print('here'); time.sleep(60)"
    running = Running(part(code, ready_line="here"), tmp_path, said.append)
    await running.start()
    keeper = asyncio.create_task(running.keep_alive())
    await running.ready()
    os.kill(int(running.log.read_text().split()[0]), signal.SIGKILL)
    await until(lambda: running.log.read_text().count("here") == 2)
    await running.stop()
    await keeper
    assert said == [f"thing died of SIGKILL and is started again; see {running.log}"]


async def test_a_part_that_dies_five_times_in_a_minute_ends_it_with_its_last_lines(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    running = Running(part("print('no disk'); raise SystemExit(3)"), tmp_path, said.append)
    await running.start()
    with pytest.raises(KeepsDying) as raised:
        await running.keep_alive()
    assert "thing died 5 times within a minute, the last time with status 3" in str(raised.value)
    assert str(raised.value).endswith("\n  no disk")
    assert len(said) == 4


async def test_deaths_far_apart_are_forgiven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "DEATHS_WITHIN", timedelta(0))
    said: list[str] = []
    running = Running(part("raise SystemExit(3)"), tmp_path, said.append)
    await running.start()
    keeper = asyncio.create_task(running.keep_alive())
    await until(lambda: len(said) > 6)
    await running.stop()
    await keeper


async def test_a_part_is_asked_to_end_and_waited_for(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('bye'), sys.exit(0)))\n"
        "print('here'); time.sleep(60)"
    )
    running = Running(part(code, ready_line="here"), tmp_path, print)
    await running.start()
    await running.ready()
    await running.stop()
    assert running.log.read_text().split() == ["here", "bye"]


async def test_a_part_that_does_not_end_is_killed_with_all_it_started(tmp_path: Path) -> None:
    said: list[str] = []
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid); print('here'); time.sleep(60)"
    )
    running = Running(
        part(code, ready_line="here", grace=timedelta(milliseconds=50)), tmp_path, said.append
    )
    await running.start()
    await running.ready()
    grandchild = int(running.log.read_text().split()[0])
    assert is_alive(grandchild)
    await running.stop()
    await until(lambda: not is_alive(grandchild))
    assert said == ["thing did not stop in time and is killed"]


async def test_a_part_dies_with_a_killed_up(tmp_path: Path) -> None:
    up = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from drumbeat.machine.parts import Part, Running\n"
        "async def main():\n"
        "    code = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'\n"
        "    part = Part('thing', (sys.executable, '-c', code), os.environ)\n"
        f"    running = Running(part, Path({str(tmp_path)!r}), print)\n"
        "    await running.start()\n"
        "    await running.keep_alive()\n"
        "asyncio.run(main())\n"
    )
    log = tmp_path / "thing.log"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", up, cwd=ROOT)
    await until(lambda: log.exists() and log.read_text().endswith("\n"))
    pid = int(log.read_text())
    assert is_alive(pid)
    process.kill()
    await process.wait()
    await until(lambda: not is_alive(pid))


async def test_a_line_of_an_earlier_start_does_not_count_as_ready(tmp_path: Path) -> None:
    (tmp_path / "thing.log").write_text("here\n")
    running = Running(part("import time; time.sleep(60)", ready_line="here"), tmp_path, print)
    await running.start()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(running.ready(), 0.2)
    running.kill()
    await running.stop()


async def test_a_long_log_is_put_aside_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "LOG_LIMIT", 10)
    (tmp_path / "thing.log").write_text("far too long\n")
    running = Running(part("print('here')", ready_line="here"), tmp_path, print)
    await running.start()
    await running.ready()
    await running.stop()
    assert (tmp_path / "thing.log").read_text() == "here\n"
    assert (tmp_path / "thing.log.1").read_text() == "far too long\n"


def test_a_port_is_free_until_somebody_listens() -> None:
    port = free_port()
    assert is_free(port)
    assert not answers(port)
    with closing(socket.create_server(("127.0.0.1", port))):
        assert not is_free(port)
        assert answers(port)


def test_a_port_on_which_all_addresses_are_served_is_taken() -> None:
    with closing(socket.create_server(("0.0.0.0", free_port()))) as server:
        assert not is_free(server.getsockname()[1])
