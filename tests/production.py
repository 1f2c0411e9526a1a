"""The production shape without containers: the services of docker-compose.yml as processes.

Commands and variables come from that file; only addresses and ports are others.
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from drumbeat.machine.build import ROOT
from drumbeat.machine.parts import Part, Running
from drumbeat.machine.temporal import free_ports
from tests.postgres import Cluster
from tests.temporal_server import TemporalServer, built

COMPOSE: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")
_PORTS = [
    f"{service}_{kind}_PORT"
    for service in ("FRONTEND", "HISTORY", "MATCHING", "WORKER")
    for kind in ("GRPC", "MEMBERSHIP")
]


def variables(service: str, given: Mapping[str, str]) -> dict[str, str]:
    """The variables of a service, those of `.env` filled in."""
    return {
        name: re.sub(r"\$\{(\w+)[^}]*\}", lambda match: given[match[1]], str(value))
        for name, value in COMPOSE["services"][service]["environment"].items()
    }


def command(service: str) -> tuple[str, ...]:
    """The command of a service of ours, run by this interpreter."""
    program, *arguments = COMPOSE["services"][service]["command"]
    assert program == "python"
    return (sys.executable, *arguments)


async def run_job(arguments: tuple[str, ...], environment: Mapping[str, str]) -> str:
    """Run a job to its end and return its output.

    Raises:
        RuntimeError: It failed.
    """
    process = await asyncio.create_subprocess_exec(
        *arguments,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"{arguments} ended with {process.returncode}:\n{output}")
    return output


@asynccontextmanager
async def temporal_on_postgres(cluster: Cluster, folder: Path) -> AsyncIterator[TemporalServer]:
    """Temporal in a PostgreSQL cluster, set up by its SQL tool, with namespace and attributes."""
    build = built()
    secrets = {"POSTGRES_PASSWORD": "any"}  # the cluster trusts every local connection
    address = {"SQL_HOST": "127.0.0.1", "SQL_PORT": str(cluster.port), "SQL_USER": "postgres"}
    await run_job(
        (str(ROOT / "deploy/temporal/schema.sh"),),
        {
            **variables("temporal-schema", secrets),
            **address,
            "PATH": f"{build.folder}{os.pathsep}{os.environ['PATH']}",
        },
    )
    ports = free_ports(len(_PORTS) + 1)
    environment = {
        **variables("temporal", secrets),
        "POSTGRES_SEEDS": "127.0.0.1",
        "POSTGRES_USER": "postgres",
        "DB_PORT": str(cluster.port),
        "BIND_ON_IP": "127.0.0.1",
        "DYNAMIC_CONFIG_FILE_PATH": str(ROOT / "deploy/temporal/production.yaml"),
        "FRONTEND_HTTP_PORT": str(ports.pop()),
        **{name: str(port) for name, port in zip(_PORTS, ports, strict=True)},
    }
    # As the image's entry point starts it: configured by its variables alone.
    part = Part("temporal", (str(build.server), "start"), environment, port=ports[0])
    server = TemporalServer(f"127.0.0.1:{ports[0]}")
    running = Running(part, folder, print)
    await running.start()
    try:
        await running.ready()
        await run_job(command("temporal-namespace"), server.environment)
        yield server
    finally:
        running.kill()
        await running.stop()
