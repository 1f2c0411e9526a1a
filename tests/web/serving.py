"""`python -m drumbeat.web` as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port

KEY = "an-example-secret-key-0123456789abcdef"
ROOT = Path(__file__).parents[2]
REPS = """\
reps:
  - email: grace@example.com
    name: Grace Hopper
    mailbox: {smtp: smtp://127.0.0.1:2525}
"""


def environment(database: str, port: int, **settings: str) -> dict[str, str]:
    """What the process sees: nothing of the settings of whoever runs the tests."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("DRUMBEAT_")
    }
    given = {
        "DRUMBEAT_DATABASE_URL": database,
        "DRUMBEAT_WEB_PORT": str(port),
        "DRUMBEAT_SECRET_KEY": KEY,
        "DRUMBEAT_BASE_URL": "https://beat.example.com",
        "PYTHONPATH": str(ROOT),
    }
    return inherited | given | settings


def start(env: Mapping[str, str], folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start it in a folder without a `.env`; its output and errors come in one stream."""
    (folder / "reps.yaml").write_text(REPS)
    return subprocess.Popen(
        [sys.executable, "-m", "drumbeat.web", *arguments],
        env=env,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def serving(database: str, folder: Path, **settings: str) -> Iterator[tuple[str, list[str]]]:
    """Its address while it runs, under settings as `up` gives them, and later what it printed."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    env = environment(database, port, DRUMBEAT_UP="1", DRUMBEAT_BASE_URL=base, **settings)
    process = start(env, folder)
    printed: list[str] = []
    try:
        assert process.stdout is not None
        printed.append(process.stdout.readline())
        assert printed == ["web ready\n"], printed + process.stdout.readlines()
        yield base, printed
    finally:
        process.terminate()
        rest, _ = process.communicate(timeout=10)
        printed.extend(rest.splitlines(keepends=True))
