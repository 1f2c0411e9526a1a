"""The Temporal server of the tests: the same programs and the same configuration as `up` uses."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from drumbeat.machine.build import Build, find
from drumbeat.machine.parts import Running
from drumbeat.machine.temporal import free_ports, server_part
from drumbeat.temporal.client import connect
from drumbeat.temporal.register import prepare


@dataclass(frozen=True, slots=True)
class TemporalServer:
    """A running server."""

    address: str
    """Host and port."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which Temporal's tools, and Drumbeat, find it."""
        return {"TEMPORAL_ADDRESS": self.address}


def built() -> Build:
    """The programs, which `make test` builds first: that takes longer than any test may."""
    build = find()
    if build is None:
        raise RuntimeError("the Temporal server is not built: `make setup`")
    return build


@asynccontextmanager
async def running_server(folder: Path) -> AsyncIterator[TemporalServer]:
    """Start a server whose database and log lie in the folder; stop it at the end."""
    (port,) = free_ports(1)
    part = server_part(built(), folder / "temporal.db", port, {})
    server = TemporalServer(f"127.0.0.1:{port}")
    running = Running(part, folder, print)
    await running.start()
    try:
        client = await connect(environment=server.environment, patience=timedelta(seconds=30))
        await prepare(client)
        yield server
    finally:
        running.kill()
        await running.stop()
