"""Record where an enrollment stands, what happened to it, and how it ended."""

from temporalio import activity

from drumbeat.campaign.record import Record
from drumbeat.store import recording
from drumbeat.store.engine import Store


class Enrollments:
    """Writes what the workflows say into the tables."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @activity.defn
    async def record(self, record: Record) -> None:
        """Bring the tables up to what the workflow says; repeating it changes nothing."""
        async with self._store.write() as tx:
            await recording.apply(tx, record, await self._store.now(tx))
