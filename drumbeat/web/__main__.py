"""`python -m drumbeat.web`: serves the web application until SIGTERM or SIGINT."""

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn

from drumbeat.actions.reps_file import RepsFileFaulty
from drumbeat.logs import start_logging
from drumbeat.settings import Settings
from drumbeat.store.errors import StoreError
from drumbeat.web.app import create_app
from drumbeat.web.serving import open_site
from drumbeat.web.starting import (
    StartRefused,
    listening_socket,
    read_settings,
    refuse_unsafe,
)

READY = "web ready"
"""The line that it prints once it listens."""
GRACE_SECONDS = 2
"""From SIGTERM until open requests are cut off: a stream would keep it running for ever."""


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            print(READY, flush=True)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on a signal, and no more: uvicorn 0.54 would raise it again when it has stopped.

        That cancels whatever comes then, such as giving the database's connections back.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until a signal asks to stop.

    Raises:
        StartRefused: The settings are not safe, or the port is taken.
        StoreError: The database cannot be used.
    """
    refuse_unsafe(settings)
    async with open_site(settings) as site:
        listening = listening_socket(host, port)  # last: who waits for the port finds it working
        config = uvicorn.Config(
            create_app(site),
            lifespan="off",
            access_log=False,  # paths hold tokens
            log_config=None,  # as everything else logs
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        await _Server(config).serve(sockets=[listening])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it.

    Returns:
        The exit status: 0 when it was stopped, 1 with the reason when it could not start.
    """
    # Until the server takes signals itself, both end it alike.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        settings = read_settings()
        start_logging(settings)
        host, port = _address(arguments, settings)
        asyncio.run(serve(settings, host, port))
    except (RepsFileFaulty, StartRefused, StoreError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def _address(arguments: Sequence[str] | None, settings: Settings) -> tuple[str, int]:
    parser = argparse.ArgumentParser(prog="python -m drumbeat.web", description=__doc__)
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen at (%(default)s)"
    )
    parser.add_argument(
        "--port", type=int, default=settings.web_port, help="the port (%(default)s)"
    )
    given = parser.parse_args(arguments)
    return given.host, given.port


if __name__ == "__main__":
    sys.exit(main())
