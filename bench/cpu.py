"""CPU time of other processes, as Linux keeps it in /proc: what a figure is bound by.

Elsewhere nothing is known of it, and the figures go without.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
"""A second, in the kernel's unit."""


def children() -> set[int]:
    """The ids of this process's own children that run."""
    own = os.getpid()
    return {pid for pid, fields in _processes() if int(fields[1]) == own}


def seconds_of_session(leader: int) -> float:
    """CPU seconds of all running processes of a session, those of ended children included.

    Args:
        leader: The id of the process that began the session, and whatever it started.
    """
    ticks = 0
    for _, fields in _processes():
        if int(fields[3]) == leader:
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICK


def _processes() -> list[tuple[int, list[str]]]:
    """Each process's id, and what its line holds behind the name: state, parent, group, session."""
    found: list[tuple[int, list[str]]] = []
    for folder in Path("/proc").glob("*"):
        if not folder.name.isdigit():
            continue
        try:
            text = (folder / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        # The name stands in parentheses and may hold spaces.
        found.append((int(folder.name), text.rpartition(")")[2].split()))
    return found


def ms_of(pids: Iterable[int]) -> float:
    """CPU milliseconds that these processes have taken so far, with all their threads.

    Finer than what `seconds_of_session` reads, and without the processes that they started.
    """
    nanoseconds = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                nanoseconds += int(thread.read_text().split()[0])
    return nanoseconds / 1e6


def children_of(parent: int) -> set[int]:
    """The processes that a process has started and that run."""
    return {pid for pid, fields in _processes() if int(fields[1]) == parent}
