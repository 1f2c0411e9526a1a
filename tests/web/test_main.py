import signal
import socket
import time
from pathlib import Path

import httpx2
import pytest

from drumbeat.mail.links import Links
from drumbeat.store.engine import migrate, open_store
from drumbeat.store.schema import suppressions
from tests.ports import free_port
from tests.web.rows import all_rows, enrolled
from tests.web.serving import KEY, environment, serving, start


@pytest.fixture
async def database(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'drumbeat.db'}"
    await migrate(url)
    return url


def refusal(env: dict[str, str], folder: Path, *arguments: str) -> str:
    """The one line with which it ends."""
    process = start(env, folder, *arguments)
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 1, printed
    assert printed.count("\n") == 1, printed
    return printed.strip()


async def test_it_serves_the_link_of_an_email_and_logs_no_token(
    database: str, tmp_path: Path
) -> None:
    store = await open_store(database)
    enrollment_id = await enrolled(store)
    with serving(database, tmp_path) as (base, printed):
        url = Links(base, [KEY]).unsubscribe_url(enrollment_id)
        health = httpx2.get(f"{base}/health")
        asked = httpx2.get(url)
        unknown = httpx2.get(f"{base}/u/some-unknown-token")
        clicked = httpx2.post(url, data={"List-Unsubscribe": "One-Click"})
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert (asked.status_code, unknown.status_code, clicked.status_code) == (200, 404, 200)
    assert "server" not in clicked.headers
    assert [row["value"] for row in await all_rows(store, suppressions)] == ["ada@example.org"]
    await store.close()
    assert printed == ["web ready\n"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_five_seconds_even_with_a_connection_open(
    database: str, tmp_path: Path, number: signal.Signals
) -> None:
    port = free_port()
    process = start(environment(database, port), tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "web ready\n"
    with socket.create_connection(("127.0.0.1", port)) as half_asked:
        half_asked.sendall(b"POST /u/x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        began = time.monotonic()
        process.send_signal(number)
        printed, _ = process.communicate(timeout=10)
    assert time.monotonic() - began < 5
    assert process.returncode == 0, printed
    assert "Traceback" not in printed
    assert "/u/x" not in printed


def test_a_taken_port_is_one_line_that_names_it(database: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal(environment(database, port), tmp_path)
    assert line == f"port {port} is taken: set DRUMBEAT_WEB_PORT, or --host and --port"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"DRUMBEAT_SECRET_KEY": ""}, "DRUMBEAT_SECRET_KEY is not set"),
        ({"DRUMBEAT_SECRET_KEY": "short"}, "DRUMBEAT_SECRET_KEY is too short"),
        ({"DRUMBEAT_BASE_URL": "http://beat.example.com"}, "must be the public address"),
        ({"DRUMBEAT_BASE_URL": ""}, "DRUMBEAT_BASE_URL is not set"),
        ({"DRUMBEAT_WEB_PORT": "many"}, "DRUMBEAT_WEB_PORT: "),
        ({"DRUMBEAT_DATABASE_URL": "sqlite:///nowhere/drumbeat.db"}, "is not set up for this"),
        ({"DRUMBEAT_DATABASE_URL": "mysql://x/y"}, "which Drumbeat does not know"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line(
    database: str, tmp_path: Path, settings: dict[str, str], words: str
) -> None:
    line = refusal(environment(database, free_port()) | settings, tmp_path)
    assert words in line


@pytest.mark.parametrize("arguments", [("--port", "99999"), ("--host", "192.0.2.1")])
def test_an_address_that_is_not_this_machines_is_one_line(
    database: str, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    line = refusal(environment(database, free_port()), tmp_path, *arguments)
    assert "--host and --port" in line


def test_wrong_options_are_a_wrong_usage(tmp_path: Path) -> None:
    process = start(environment("sqlite:///x.db", free_port()), tmp_path, "--port", "many")
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "--port" in printed
