"""A throw-away PostgreSQL cluster: `initdb` and `pg_ctl` on a folder of its own, no service."""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.ports import free_port

DEBIAN = Path("/usr/lib/postgresql")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster; its superuser is `postgres`, and it trusts every local connection."""

    port: int

    def create_database(self, prefix: str) -> str:
        """Make an empty database and return its name."""
        name = f"{prefix}_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return name

    def dsn(self, database: str) -> str:
        """The database's address for psycopg."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def url(self, database: str) -> str:
        """The database's address for SQLAlchemy, as `DRUMBEAT_DATABASE_URL` wants it."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start a cluster on a free port and remove it without a trace at the end."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="drumbeat-postgres-"))
    port = free_port()
    # PostgreSQL refuses to run as root; the folder then belongs to Debian's user for it.
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)

    def run(program: str, *arguments: str) -> None:
        done = subprocess.run(
            [programs / program, *arguments],
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
            raise RuntimeError(f"{program} failed: {done.stdout}")

    data = folder / "data"
    try:
        run("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        # The data live as long as the tests: durability would only cost time.
        options = (
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} "
            "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"
        )
        log = str(folder / "log")
        run("pg_ctl", "-D", str(data), "-o", options, "-l", log, "-w", "-t", "60", "start")
        try:
            yield Cluster(port)
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """The folder of `initdb` and `pg_ctl`: Debian keeps them off the path."""
    found = shutil.which("pg_ctl")
    candidates = [Path(found).resolve().parent] if found else []
    if DEBIAN.is_dir():
        versions = sorted(DEBIAN.iterdir(), key=lambda folder: float(folder.name), reverse=True)
        candidates += [version / "bin" for version in versions]
    for candidate in candidates:
        if (candidate / "initdb").exists() and (candidate / "pg_ctl").exists():
            return candidate
    raise RuntimeError("PostgreSQL is missing: `apt-get install postgresql-15`, or `make test`")
