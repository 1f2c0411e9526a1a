"""The mail server of a developer's machine: keeps every email in a Maildir, sends none on.

Run as `python -m drumbeat.mail.local --port 2525 --maildir var/mail`; SIGTERM stops it.
"""

import argparse
import asyncio
import errno
import itertools
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session, syntax

HOST = "127.0.0.1"
"""This machine only."""
LARGEST_EMAIL = 50_000_000
"""In bytes: attachments of 20 MB, encoded, with room to spare."""
LAST_ANSWERS = 0.8
"""Seconds that emails under way have after SIGTERM."""


class Maildir:
    """A folder of emails, one file each, as other mail programs read it."""

    def __init__(self, path: Path) -> None:
        """Make the folders that are missing.

        Raises:
            OSError: They cannot be made.
        """
        self._path = path
        self._numbers = itertools.count(1)
        for folder in ("tmp", "new", "cur"):
            (path / folder).mkdir(parents=True, exist_ok=True)

    def keep(self, content: bytes) -> None:
        """Store an email, byte for byte; when this returns, it survives a crash of the machine.

        Raises:
            OSError: It could not be stored; nothing of it is left in `new`.
        """
        name = f"{time.time():.6f}.P{os.getpid()}Q{next(self._numbers)}.drumbeat"
        written, kept = self._path / "tmp" / name, self._path / "new" / name
        try:
            with written.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            written.rename(kept)
        except OSError:
            written.unlink(missing_ok=True)
            raise
        folder = os.open(self._path / "new", os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class LocalServer:
    """The mail server itself; `python -m drumbeat.mail.local` runs one, tests may run several."""

    def __init__(self, maildir: Path) -> None:
        """Make the Maildir where it is missing.

        Raises:
            OSError: It cannot be made.
        """
        self._maildir = Maildir(maildir)
        self._server: asyncio.Server | None = None
        self._conversations: set[_Conversation] = set()
        self._receiving = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def start(self, port: int) -> int:
        """Listen on that port of 127.0.0.1, or on a free one for 0; the port.

        Raises:
            OSError: The port is taken.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Conversation(self), HOST, port)
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    async def stop(self) -> None:
        """Take no new connections, let the emails under way come to an end, then hang up."""
        if self._server is None:
            return
        self._server.close()
        try:
            async with asyncio.timeout(LAST_ANSWERS):
                await self._quiet.wait()
        except TimeoutError:
            # Whoever sends so slowly has had no answer: for them, their email is in doubt.
            print(f"{self._receiving} email(s) cut off while being received", file=sys.stderr)
        for conversation in tuple(self._conversations):
            conversation.hang_up()

    def opened(self, conversation: "_Conversation") -> None:
        """Called by a connection when it begins."""
        self._conversations.add(conversation)

    def closed(self, conversation: "_Conversation") -> None:
        """Called by a connection when it has ended."""
        self._conversations.discard(conversation)

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """Around the receiving of one email, from the DATA command to the answer."""
        self._receiving += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._receiving -= 1
            if not self._receiving:
                self._quiet.set()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Store the email; called by aiosmtpd with its whole content, the answer is returned."""
        content = envelope.original_content or b""
        try:
            await asyncio.to_thread(self._maildir.keep, content)
        except OSError as error:
            return f"451 4.3.0 The email could not be stored: {os.strerror(error.errno or 0)}"
        return "250 2.0.0 Kept"


class _Conversation(SMTP):
    """One connection to the local server."""

    def __init__(self, server: LocalServer) -> None:
        super().__init__(
            server,
            hostname="localhost",
            ident="Drumbeat",
            data_size_limit=LARGEST_EMAIL,
            loop=asyncio.get_running_loop(),
        )
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.closed(self)
        super().connection_lost(error)

    def hang_up(self) -> None:
        """Close the connection, after what was already written to it."""
        if self.transport is not None:
            self.transport.close()

    @syntax("DATA")
    async def smtp_DATA(self, arg: str) -> None:
        """Receive an email, so that the server does not stop meanwhile."""
        with self._server.receiving():
            await super().smtp_DATA(arg)


async def serve(port: int, maildir: Path) -> None:
    """Run the server until SIGTERM or SIGINT.

    Raises:
        OSError: The port is taken, or the Maildir cannot be made.
    """
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop.set)
    server = LocalServer(maildir)
    port = await server.start(port)
    print(f"local mail server: 127.0.0.1:{port}, emails in {maildir}", flush=True)
    await asked_to_stop.wait()
    await server.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it from the command line; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m drumbeat.mail.local", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="0: any free one")
    parser.add_argument("--maildir", type=Path, required=True, help="made where it is missing")
    options = parser.parse_args(arguments)
    # aiosmtpd logs whom every email is from and to; addresses never enter logs.
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    try:
        asyncio.run(serve(options.port, options.maildir))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            problem = (
                f"port {options.port} is taken; stop what listens there, or set "
                "DRUMBEAT_SMTP_PORT to another"
            )
        else:
            problem = f"{error.filename or options.maildir}: {error.strerror}"
        print(f"local mail server: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
