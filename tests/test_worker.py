"""The worker as a process: what it refuses, and what it tells ops."""

import asyncio
import os
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from drumbeat.machine.build import ROOT
from drumbeat.machine.temporal import free_ports
from drumbeat.store.engine import migrate
from tests.temporal_server import TemporalServer

REPS = """\
reps:
  - email: grace@example.com
    name: Grace Hopper
    mailbox: {smtp: smtp://127.0.0.1:2525}
"""


@pytest.fixture
async def environment(tmp_path: Path, temporal_server: TemporalServer) -> dict[str, str]:
    database = f"sqlite:///{tmp_path / 'drumbeat.db'}"
    await migrate(database)
    (tmp_path / "reps.yaml").write_text(REPS)
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "DRUMBEAT_HOME": str(tmp_path),
        "DRUMBEAT_DATABASE_URL": database,
        "DRUMBEAT_REPS": str(tmp_path / "reps.yaml"),
        "DRUMBEAT_SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz",
        "DRUMBEAT_BASE_URL": "https://drumbeat.example",
        **temporal_server.environment,
    }


async def start(environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "worker.py"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def refusal(environment: dict[str, str]) -> str:
    """The one line with which it does not start."""
    process = await start(environment)
    output, errors = await process.communicate()
    assert process.returncode == 1
    assert output == b""
    return errors.decode().strip()


def get(address: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.slow
async def test_it_serves_health_and_metrics_and_stops_on_sigterm(
    environment: dict[str, str],
) -> None:
    (port,) = free_ports(1)
    process = await start(environment | {"DRUMBEAT_METRICS_PORT": str(port)})
    assert process.stdout is not None
    assert await process.stdout.readline() == b"worker ready\n"
    assert await asyncio.to_thread(get, f"http://127.0.0.1:{port}/health") == (200, "ok\n")
    status, metrics = await asyncio.to_thread(get, f"http://127.0.0.1:{port}/metrics")
    assert status == 200
    assert "drumbeat_outbox_waiting 0.0" in metrics
    assert "drumbeat_email_lateness_seconds_bucket" in metrics
    assert (await asyncio.to_thread(get, f"http://127.0.0.1:{port}/other"))[0] == 404
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"DRUMBEAT_SECRET_KEY": "short"}, "DRUMBEAT_SECRET_KEY is too short"),
        ({"DRUMBEAT_BASE_URL": "http://drumbeat.example"}, "begin with https://"),
        ({"DRUMBEAT_REPS": "nowhere.yaml"}, "nowhere.yaml"),
        ({"DRUMBEAT_DATABASE_URL": "sqlite:////nowhere/at.db"}, "/nowhere/at.db"),
        ({"DRUMBEAT_WORKER_SLOTS": "many"}, "DRUMBEAT_WORKER_SLOTS"),
        ({"DRUMBEAT_LOG_FORMAT": "loud"}, "DRUMBEAT_LOG_FORMAT"),
    ],
)
async def test_it_refuses_with_one_line(
    environment: dict[str, str], changes: dict[str, str], line: str
) -> None:
    said = await refusal(environment | changes)
    assert line in said
    assert len(said.splitlines()) == 1
