"""The reps of a process that runs for months: the file is read again whenever it has changed."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from drumbeat.reps import Fault, Reps, read_reps
from drumbeat.settings import Settings
from drumbeat.store import keys
from drumbeat.store import reps as table
from drumbeat.store.engine import Store
from drumbeat.store.errors import StoreError

_LOG = logging.getLogger("drumbeat.reps")

EVERY = timedelta(seconds=5)


class RepsFileFaulty(Exception):
    """The file cannot be used; each fault is a line."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.lines = tuple(map(str, faults))


class RepsFile:
    """The reps file of one process. Made by `open_reps`."""

    def __init__(self, settings: Settings, store: Store, reps: Reps) -> None:
        self.reps = reps
        """Always the same object; what it holds follows the file."""
        self._settings = settings
        self._store = store
        self._seen = _stamp(settings.reps)

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the file until told to stop; while it has faults, what was read before holds."""
        while not stop.is_set():
            try:
                await self.look()
            except RepsFileFaulty as faulty:
                for line in faulty.lines:
                    _LOG.error("the reps file is not taken over: %s", line)
            except StoreError as error:
                _LOG.warning("the reps file is read again later: %s", type(error).__name__)
                self._seen = None
            try:
                await asyncio.wait_for(stop.wait(), EVERY.total_seconds())
            except TimeoutError:
                continue

    async def look(self) -> bool:
        """Read the file if it has changed; whether it had.

        Raises:
            RepsFileFaulty: It has faults; it is not complained of again until it changes.
            StoreError: The copy in the database cannot be written.
        """
        stamp = _stamp(self._settings.reps)
        if stamp == self._seen:
            return False
        self._seen = stamp
        fresh = await _read(self._settings, self._store)
        self.reps.replace(fresh)
        _LOG.info("the reps file was read again: %d reps", len(fresh))
        return True


async def open_reps(settings: Settings, store: Store) -> RepsFile:
    """Read the reps file, and bring the copy in the database up to it.

    Raises:
        RepsFileFaulty: It has faults.
        StoreError: The database cannot be used.
    """
    return RepsFile(settings, store, await _read(settings, store))


async def _read(settings: Settings, store: Store) -> Reps:
    reading = read_reps(settings.reps, local_smtp=settings.local_smtp or None)
    if reading.faults:
        raise RepsFileFaulty(reading.faults)
    async with store.write() as tx:
        reps = Reps(reading.reps, await keys.people_key(tx))
        await table.sync(tx, reps, await store.now(tx))
    return reps


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
