"""Which Temporal server this machine uses, why, and how it is started.

In this order: the one that `TEMPORAL_ADDRESS` names, a `temporal` program on the path, the cached
build, the download that the Python SDK offers, a build with Go. `python -m
drumbeat.machine.temporal` makes sure that there is one, and starts nothing.
"""

import asyncio
import json
import os
import random
import re
import shutil
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ruamel.yaml import YAML

from drumbeat.machine.build import MODULE, Build, BuildFailed, Say, cache, find, find_or_build
from drumbeat.machine.home import parsed
from drumbeat.machine.parts import Part, is_free
from drumbeat.settings import Settings
from drumbeat.temporal import attributes
from drumbeat.temporal.client import configured_address

OLDEST_PROGRAM = (1, 9)
"""Of the `temporal` program: older ones hold a server without virtual time for one workflow."""
DOWNLOAD_TIMEOUT = timedelta(seconds=60)
DATABASE = "temporal.db"
DYNAMIC_CONFIG = MODULE / "dynamic.yaml"
"""The server's settings that may change while it runs, with their reasons."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A server that others run."""

    address: str
    why: str = "TEMPORAL_ADDRESS is set"


@dataclass(frozen=True, slots=True)
class DevServer:
    """The `temporal` program, which holds server and UI."""

    program: Path
    version: tuple[int, ...] | None
    """Of the server in it."""
    why: str

    def parts(self, settings: Settings, environment: Mapping[str, str]) -> list[Part]:
        """The one process to start."""
        dynamic = YAML(typ="safe").load(DYNAMIC_CONFIG)
        options = {
            f"--dynamic-config-value={name}={json.dumps(setting['value'])}"
            for name, settings_of_name in dynamic.items()
            for setting in settings_of_name
        }
        options |= {
            f"--search-attribute={key.name}={key.indexed_value_type.name.capitalize()}"
            for key in attributes.ALL
        }
        command = (
            str(self.program),
            "server",
            "start-dev",
            "--ip=127.0.0.1",
            f"--port={settings.temporal_port}",
            f"--ui-port={settings.temporal_ui_port}",
            f"--db-filename={settings.home.resolve() / DATABASE}",
            "--log-level=warn",
            *sorted(options),
        )
        return [
            Part(
                "temporal",
                command,
                environment,
                grace=timedelta(seconds=5),
                port=settings.temporal_port,
            )
        ]


@dataclass(frozen=True, slots=True)
class Built:
    """The programs built from deploy/temporal."""

    build: Build
    version: tuple[int, ...]
    why: str

    def parts(self, settings: Settings, environment: Mapping[str, str]) -> list[Part]:
        """The server and the UI, to be started in this order."""
        return [
            server_part(
                self.build, settings.home.resolve() / DATABASE, settings.temporal_port, environment
            ),
            ui_part(self.build, settings.temporal_port, settings.temporal_ui_port, environment),
        ]


Server = Elsewhere | DevServer | Built


async def choose(say: Say) -> Server:
    """The server to use; downloaded or built where there is none yet.

    Raises:
        BuildFailed: There is none, and none could be made.
    """
    if address := configured_address():
        return Elsewhere(address)
    on_path = shutil.which("temporal")
    refusal = ""
    if on_path:
        program_version, server_version = await _program_versions(Path(on_path))
        if program_version is not None and program_version >= OLDEST_PROGRAM:
            return DevServer(Path(on_path), server_version, f"{on_path} is on the path")
        refusal = f"; {on_path} is older than {_dotted(OLDEST_PROGRAM)}"
    if build := find():
        return await _built(build, f"the cached build{refusal}")
    folder = cache() / "temporal-program"
    if downloaded := _program_in(folder):
        return await _downloaded(downloaded, f"downloaded before{refusal}")
    if downloaded := await _download(folder, say):
        return await _downloaded(downloaded, f"downloaded{refusal}")
    return await _built(await find_or_build(say), f"built with Go{refusal}")


def describe(server: Server) -> str:
    """One line: what is used, and why."""
    match server:
        case Elsewhere(address, why):
            return f"Temporal server: {address} ({why})"
        case DevServer(program, version, why):
            return f"Temporal server{_named(version)}: {program} ({why})"
        case Built(build, version, why):
            return f"Temporal server{_named(version)}: {build.server} ({why})"


def server_part(build: Build, database: Path, port: int, environment: Mapping[str, str]) -> Part:
    """How the built server is started with its database in a SQLite file.

    Its services talk to each other over seven more ports, free ones that nobody need know.
    """
    _forget_members(database)
    inner = free_ports(7)
    names = [f"{name}_PORT" for name in ("HISTORY", "MATCHING", "WORKER")]
    names += [f"{name}_MEMBERSHIP_PORT" for name in ("FRONTEND", "HISTORY", "MATCHING", "WORKER")]
    variables = {
        "TEMPORAL_SQLITE": str(database),
        "TEMPORAL_DYNAMIC_CONFIG": str(DYNAMIC_CONFIG),
        "TEMPORAL_FRONTEND_PORT": str(port),
        **{f"TEMPORAL_{name}": str(number) for name, number in zip(names, inner, strict=True)},
    }
    return Part(
        "temporal",
        (
            str(build.server),
            f"--config-file={MODULE / 'sqlite.yaml'}",
            "--allow-no-auth",
            "start",
        ),
        {**environment, **variables},
        grace=timedelta(seconds=5),
        port=port,
    )


def ui_part(build: Build, port: int, ui_port: int, environment: Mapping[str, str]) -> Part:
    """How the built UI is started for the server on `port`."""
    variables = {"TEMPORAL_ADDRESS": f"127.0.0.1:{port}", "TEMPORAL_UI_PORT": str(ui_port)}
    return Part(
        "temporal-ui",
        (str(build.ui), f"--root={MODULE}", "--config=ui", "--env=machine", "start"),
        {**environment, **variables},
        port=ui_port,
    )


def free_ports(number: int) -> list[int]:
    """Ports on which a server can listen.

    They lie below the range from which the system takes the ports of outgoing connections, so that
    none of them is taken by chance before its server listens.
    """
    found: list[int] = []
    for port in random.sample(range(12_000, 32_000), 2_000):
        if len(found) == number:
            break
        if is_free(port):
            found.append(port)
    return found


def _forget_members(database: Path) -> None:
    """Forget where the services of a killed server listened.

    They are written in its database, and a new server on other ports would try for 50 seconds to
    reach them.
    """
    if not database.exists():
        return
    with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
        tables = "SELECT name FROM sqlite_master WHERE name = 'cluster_membership'"
        if connection.execute(tables).fetchone():
            connection.execute("DELETE FROM cluster_membership")


async def _built(build: Build, why: str) -> Built:
    return Built(build, await server_version(build), why)


async def server_version(build: Build) -> tuple[int, ...]:
    """The version of the built server.

    Raises:
        BuildFailed: The program does not say: it is broken.
    """
    text = await _output(str(build.server), "--version")
    found = re.search(r"(\d+\.\d+\.\d+)", text)
    if found is None:
        raise BuildFailed(f"{build.server} does not run: delete {build.folder} and start again")
    return parsed(found[1])


async def _downloaded(program: Path, why: str) -> DevServer:
    return DevServer(program, (await _program_versions(program))[1], why)


async def _program_versions(program: Path) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    """The versions of the `temporal` program and of the server in it, where it says them."""
    text = await _output(str(program), "--version")
    own = re.search(r"temporal version v?(\d+\.\d+(?:\.\d+)?)", text, re.IGNORECASE)
    server = re.search(r"server v?(\d+\.\d+(?:\.\d+)?)", text, re.IGNORECASE)
    return parsed(own[1]) if own else None, parsed(server[1]) if server else None


async def _download(folder: Path, say: Say) -> Path | None:
    """The `temporal` program, where the network lets it be fetched; None on a closed one."""
    say(f"looking for a Temporal server to download (at most {DOWNLOAD_TIMEOUT.seconds} s)")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "drumbeat.machine.download",
        str(folder),
        env=os.environ | {"PYTHONPATH": str(MODULE.parents[1])},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        status = await asyncio.wait_for(process.wait(), DOWNLOAD_TIMEOUT.total_seconds())
    except TimeoutError:
        status = None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, 9)  # with the server that it may have started
            await process.wait()
    if status == 0:
        return _program_in(folder)
    shutil.rmtree(folder, ignore_errors=True)  # half a program is none
    say("no download on this network, so it is built")
    return None


def _program_in(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob("temporal*"))), None)


async def _output(*command: str) -> str:
    """What a program prints when it is asked for its version; empty where it cannot run."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError:
        return ""
    return (await process.communicate())[0].decode(errors="replace")


def _named(version: tuple[int, ...] | None) -> str:
    return f" {_dotted(version)}" if version else ""


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


async def main() -> int:
    """Make sure that there is a server, and say which; the exit status."""
    try:
        print(describe(await choose(lambda line: print(line, flush=True))))
    except BuildFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        sys.exit(130)
