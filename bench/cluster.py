"""A PostgreSQL of the bench's own: `initdb` in a temporary folder, one process, gone at the end."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.stage import BenchFailed
from drumbeat.machine.temporal import free_ports

_DEBIAN = Path("/usr/lib/postgresql")


@contextmanager
def cluster() -> Iterator[tuple[str, int]]:
    """Start a cluster as Debian sets one up, but without waiting for the disk.

    Yields:
        The address of its empty database, as `DRUMBEAT_DATABASE_URL` wants it, and the id of the
        process that starts one for each connection.

    Raises:
        BenchFailed: PostgreSQL is not installed, or does not start.
    """
    programs = _programs()
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="drumbeat-postgres-") as name:
        folder = Path(name)
        # PostgreSQL refuses to run as root; the folder then belongs to Debian's user for it.
        user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)

        def run(program: str, *arguments: str) -> None:
            done = subprocess.run(
                [programs / program, "-D", str(folder / "data"), *arguments],
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(folder)},
            )
            if done.returncode:
                raise BenchFailed(f"{program} failed: {done.stdout.strip()}")

        run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = (
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} "
            "-c fsync=off"
        )
        run("pg_ctl", "-o", options, "-l", str(folder / "log"), "-w", "-t", "60", "start")
        try:
            pid = int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres", pid
        finally:
            run("pg_ctl", "-m", "immediate", "-w", "stop")


def _programs() -> Path:
    """The folder of `initdb` and `pg_ctl`: Debian keeps them off the path.

    Raises:
        BenchFailed: They are not there.
    """
    found = shutil.which("pg_ctl")
    folders = [Path(found).resolve().parent] if found else []
    if _DEBIAN.is_dir():
        versions = sorted(_DEBIAN.iterdir(), key=lambda folder: float(folder.name), reverse=True)
        folders += [version / "bin" for version in versions]
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    raise BenchFailed("PostgreSQL is missing: `apt-get install postgresql`")
