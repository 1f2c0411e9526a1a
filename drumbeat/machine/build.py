"""Builds the Temporal server, its UI and its SQL tool from `deploy/temporal/go.mod`.

The programs lie in a cache folder outside the checkout, keyed by go.sum: a new version of any
module is a new folder, and every checkout of the same version shares one.
"""

import asyncio
import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""
MODULE = ROOT / "deploy" / "temporal"
"""The Go module: three tools, no code of ours."""
PACKAGES = {
    "temporal-server": "go.temporal.io/server/cmd/server",
    "temporal-ui": "github.com/temporalio/ui-server/v2/cmd/server",
    "temporal-sql-tool": "go.temporal.io/server/cmd/tools/sql",
}

Say = Callable[[str], None]
"""Shows one line to whoever started the program."""


class BuildFailed(Exception):
    """The programs could not be built; the text says why, and what would help."""


@dataclass(frozen=True, slots=True)
class Build:
    """The three programs of one build."""

    folder: Path

    @property
    def server(self) -> Path:
        """The Temporal server, all its services in one process."""
        return self.folder / "temporal-server"

    @property
    def ui(self) -> Path:
        """The Temporal UI."""
        return self.folder / "temporal-ui"

    @property
    def sql_tool(self) -> Path:
        """Sets Temporal's schemas up in PostgreSQL."""
        return self.folder / "temporal-sql-tool"


def cache() -> Path:
    """Drumbeat's folder for what can be made again: `$XDG_CACHE_HOME/drumbeat`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "drumbeat"


def folder() -> Path:
    """Where this version's programs lie, built or not."""
    digest = hashlib.sha256((MODULE / "go.sum").read_bytes()).hexdigest()
    return cache() / f"temporal-{digest[:16]}"


def find() -> Build | None:
    """The build of this version, if there is one."""
    build = Build(folder())
    return build if all((build.folder / name).is_file() for name in PACKAGES) else None


async def find_or_build(say: Say) -> Build:
    """The build of this version; made first, which takes minutes, where there is none.

    Raises:
        BuildFailed: Go is missing or too old, or the build failed.
    """
    return find() or await _build(say)


async def _build(say: Say) -> Build:
    go = await _go()
    target = folder()
    started = time.monotonic()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Built beside its place and moved there whole: an interrupted build is no build.
        unfinished = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    except OSError as error:
        raise BuildFailed(
            f"{target.parent} cannot be written ({error.strerror}): set XDG_CACHE_HOME"
        ) from error
    say("building the Temporal server with Go; about four minutes the first time, then never again")
    try:
        for number, (name, package) in enumerate(PACKAGES.items(), start=1):
            progress = _Progress(f"  {name} ({number} of {len(PACKAGES)})", say)
            await _run(go, package, unfinished / name, progress)
        _put_in_place(unfinished, target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    say(f"built in {time.monotonic() - started:.0f} s: {target}")
    return Build(target)


def _put_in_place(unfinished: Path, target: Path) -> None:
    """Make a finished build the build; another one that was faster stays."""
    unfinished.chmod(0o755)
    if find() is None:
        shutil.rmtree(target, ignore_errors=True)
        unfinished.rename(target)


async def _go() -> str:
    """The `go` program; one that is too old, and may, fetches the toolchain that go.mod names."""
    text = (MODULE / "go.mod").read_text()
    wanted = re.search(r"^go (\d+)\.(\d+)\.(\d+)$", text, re.MULTILINE)
    if wanted is None:
        raise BuildFailed(f"{MODULE / 'go.mod'} names no Go version")
    name = ".".join(wanted.groups())
    go = shutil.which("go")
    if go is None:
        raise BuildFailed(
            f"Go is missing: install Go {name} or newer (https://go.dev/dl) to build the Temporal "
            "server, or set TEMPORAL_ADDRESS to a running one"
        )
    process = await asyncio.create_subprocess_exec(
        go,
        "version",
        cwd=MODULE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode(errors="replace").strip()
    found = re.search(r"go version go(\d+)\.(\d+)(?:\.(\d+))?", output)
    if process.returncode or found is None:
        raise BuildFailed(f"Go {name} or newer is needed; {go} says: {output.splitlines()[-1:]}")
    if tuple(int(part or 0) for part in found.groups()) < tuple(map(int, wanted.groups())):
        raise BuildFailed(
            f"Go {name} or newer is needed to build the Temporal server; "
            f"{go} is {'.'.join(part or '0' for part in found.groups())}"
        )
    return go


async def _run(go: str, package: str, program: Path, progress: "_Progress") -> None:
    """Build one program, and show meanwhile for how long."""
    process = await asyncio.create_subprocess_exec(
        go,
        "build",
        "-ldflags=-s -w",
        f"-o={program}",
        package,
        cwd=MODULE,
        env=os.environ | {"GOFLAGS": "-mod=readonly"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    reading = asyncio.create_task(process.communicate())
    try:
        while not reading.done():
            progress.show()
            await asyncio.wait({reading}, timeout=1)
    finally:
        if not reading.done():
            process.terminate()
            await process.wait()
    progress.end()
    output = reading.result()[0].decode(errors="replace")
    if process.returncode:
        lines = [line for line in output.splitlines() if not line.startswith("go: downloading")]
        raise BuildFailed("\n".join(["go build failed:", *lines[-15:]]))


class _Progress:
    """How long something has been going on: one changing line, or a line every 30 s in a file."""

    def __init__(self, what: str, say: Say) -> None:
        self._what = what
        self._say = say
        self._started = time.monotonic()
        self._next = 0.0

    def show(self) -> None:
        seconds = time.monotonic() - self._started
        if sys.stdout.isatty():
            print(f"\r{self._what}: {seconds:.0f} s", end="", flush=True)
        elif seconds >= self._next:
            self._say(f"{self._what}: {seconds:.0f} s")
            self._next += 30

    def end(self) -> None:
        if sys.stdout.isatty():
            print()


async def main() -> int:
    """Make sure that the programs are built; the exit status."""
    try:
        await find_or_build(lambda line: print(line, flush=True))
    except BuildFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        sys.exit(130)
