"""The folder that holds everything Drumbeat writes on a developer's machine."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class HomeRefused(Exception):
    """The home cannot be used; the text names it, and says what would help."""


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the home for one `up`, made where it is missing; the lock dies with its holder.

    Raises:
        HomeRefused: Another `up` holds it, or it cannot be written.
    """
    try:
        for folder in (home, home / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(home / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise HomeRefused(
            f"{home} cannot be written ({error.strerror}): "
            "set DRUMBEAT_HOME to a folder that can be"
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 20).decode(errors="replace").strip() or "unknown"
            raise HomeRefused(
                f"{home} is in use by another `up`, process {holder}: "
                "stop it, or set DRUMBEAT_HOME to another folder"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


def secret_key(home: Path) -> str:
    """The key that signs this machine's links: made once, readable by its owner alone."""
    path = home / "secret.key"
    if not path.exists():
        # Written aside and put in its place whole: no half key survives a kill.
        unfinished = path.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
            f.write(secrets.token_urlsafe(32))
        unfinished.rename(path)
    return path.read_text().strip()


def note_server_version(home: Path, version: tuple[int, ...]) -> None:
    """Note beside Temporal's database which server uses it from now on.

    Raises:
        HomeRefused: A newer server has written it; an older one could not read all of it.
    """
    note = home / "temporal.version"
    name = ".".join(map(str, version))
    if note.exists():
        noted = note.read_text().strip()
        if all(part.isdigit() for part in noted.split(".")) and version < parsed(noted):
            raise HomeRefused(
                f"{home / 'temporal.db'} was written by Temporal server {noted}, and this one is "
                f"{name}: use {noted} or newer, or set DRUMBEAT_HOME to another folder"
            )
    note.write_text(f"{name}\n")


def parsed(version: str) -> tuple[int, ...]:
    """A version such as 1.32.0 as numbers that can be compared."""
    return tuple(int(part) for part in version.split("."))
