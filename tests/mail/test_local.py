import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from mailbox import Maildir
from pathlib import Path

import pytest

from drumbeat.mail import local
from drumbeat.mail.local import LocalServer
from drumbeat.mail.outcomes import Accepted, Failed, TryLater
from drumbeat.mail.sending import Envelope, SmtpMailer
from drumbeat.reps import Mailbox, Server, Tls

CONTENT = b"Subject: Hello\r\n\r\nHello Ada,\r\n.\r\n..dots\r\n\r\nGrace\r\n"
ENVELOPE = Envelope("grace@example.com", ("ada@example.org",))


async def go_on() -> bool:
    return True


def mailbox(port: int) -> Mailbox:
    return Mailbox("grace@example.com", Server("127.0.0.1", port, Tls.NONE))


@asynccontextmanager
async def running(maildir: Path) -> AsyncIterator[int]:
    server = LocalServer(maildir)
    port = await server.start(0)
    try:
        yield port
    finally:
        await server.stop()


async def test_every_email_is_kept_byte_for_byte(tmp_path: Path) -> None:
    mailer = SmtpMailer()
    async with running(tmp_path / "mail") as port:
        outcomes = await asyncio.gather(
            *(mailer.deliver(mailbox(port), ENVELOPE, CONTENT, go_on) for _ in range(20))
        )
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        await mailer.close()
    files = list((tmp_path / "mail" / "new").iterdir())
    assert [file.read_bytes() for file in files] == [CONTENT] * 20
    assert list((tmp_path / "mail" / "tmp").iterdir()) == []
    assert {email["Subject"] for email in Maildir(tmp_path / "mail")} == {"Hello"}


async def test_emails_of_an_earlier_run_stay(tmp_path: Path) -> None:
    mailer = SmtpMailer()
    for _ in range(2):
        async with running(tmp_path) as port:
            await mailer.deliver(mailbox(port), ENVELOPE, CONTENT, go_on)
    await mailer.close()
    assert len(list((tmp_path / "new").iterdir())) == 2


async def test_a_full_disk_is_an_answer_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    mailer = SmtpMailer()
    async with running(tmp_path) as port:
        outcome = await mailer.deliver(mailbox(port), ENVELOPE, CONTENT, go_on)
        await mailer.close()
    assert isinstance(outcome, TryLater)
    assert str(outcome.words) == (
        "451 4.3.0 The email could not be stored: No space left on device"
    )
    assert list((tmp_path / "tmp").iterdir()) == list((tmp_path / "new").iterdir()) == []


async def test_an_email_beyond_the_bound_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "LARGEST_EMAIL", 1000)
    mailer = SmtpMailer()
    async with running(tmp_path) as port:
        outcome = await mailer.deliver(mailbox(port), ENVELOPE, CONTENT * 100, go_on)
        await mailer.close()
    assert isinstance(outcome, Failed)
    assert outcome.words.code == 552


@contextmanager
def process(maildir: Path, port: int = 0) -> Iterator["subprocess.Popen[str]"]:
    """The server as `up` runs it."""
    with subprocess.Popen(
        [sys.executable, "-m", "drumbeat.mail.local", f"--port={port}", f"--maildir={maildir}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            yield server
        finally:
            server.kill()


def port_of(server: "subprocess.Popen[str]") -> int:
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line.startswith("local mail server: 127.0.0.1:"), line
    return int(line.split(":")[2].split(",")[0])


class Telnet:
    """A client that goes on by hand."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._answers = self._socket.makefile("rb")
        self.answer()

    def answer(self) -> bytes:
        while (line := self._answers.readline())[3:4] == b"-":
            pass
        return line

    def say(self, line: bytes) -> bytes:
        self._socket.sendall(line + b"\r\n")
        return self.answer()

    def close(self) -> None:
        self._answers.close()
        self._socket.close()


def test_sigterm_lets_an_email_under_way_come_to_its_end(tmp_path: Path) -> None:
    with process(tmp_path) as server:
        port = port_of(server)
        idle, client = Telnet(port), Telnet(port)
        client.say(b"EHLO localhost")
        client.say(b"MAIL FROM:<grace@example.com>")
        client.say(b"RCPT TO:<ada@example.org>")
        assert client.say(b"DATA").startswith(b"354")
        server.send_signal(signal.SIGTERM)
        assert client.say(b"Subject: last\r\n\r\nbye\r\n.").startswith(b"250")
        assert client.answer() == idle.answer() == b""  # hung up
        assert server.wait(timeout=5) == 0
        client.close()
        idle.close()
        assert server.stderr is not None
        assert server.stderr.read() == ""
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_sigterm_does_not_wait_for_a_client_that_stops_halfway(tmp_path: Path) -> None:
    with process(tmp_path) as server:
        client = Telnet(port_of(server))
        client.say(b"EHLO localhost")
        client.say(b"MAIL FROM:<grace@example.com>")
        client.say(b"RCPT TO:<ada@example.org>")
        client.say(b"DATA")
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=5) == 0
        client.close()
        assert server.stderr is not None
        assert server.stderr.read() == "1 email(s) cut off while being received\n"
    assert list((tmp_path / "new").iterdir()) == []


def test_a_taken_port_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert local.main(["--port", str(port), "--maildir", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"local mail server: port {port} is taken; stop what listens there, or set "
        "DRUMBEAT_SMTP_PORT to another\n"
    )


def test_a_maildir_that_cannot_be_made_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    in_the_way = tmp_path / "mail"
    in_the_way.write_text("a file")
    assert local.main(["--port", "0", "--maildir", str(in_the_way)]) == 1
    assert capsys.readouterr().err == f"local mail server: {in_the_way}/tmp: Not a directory\n"
