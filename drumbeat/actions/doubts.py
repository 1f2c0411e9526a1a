"""Resolve emails in doubt: a copy in the mailbox's Sent folder means that it was sent (SPEC 4).

Run by every worker. Not to find a copy decides nothing: the email stays in doubt until it is found
or its rep says what became of it.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign.states import MessageState
from drumbeat.mail.sent_folder import Looked, Trouble, find_sent
from drumbeat.reps import Mailbox, Reps
from drumbeat.store import ledger, outbox
from drumbeat.store.engine import Store
from drumbeat.store.errors import StoreError
from drumbeat.store.schema import messages

_LOG = logging.getLogger("drumbeat.doubts")

Look = Callable[[Mailbox, Sequence[str]], Looked]
"""Looks for Message-IDs in a mailbox's Sent folder; blocks, and raises nothing."""

EVERY = timedelta(minutes=1)
PAUSES = [timedelta(minutes=m) for m in (1, 5, 30, 60)]
"""After the first look without success, the second, …; the last one again and again."""
GIVE_UP_AFTER = timedelta(days=7)
"""A copy that has not come by then does not come: the email is left to its rep."""
MOST_AT_ONCE = 100
"""Emails that are looked for on one connection; the others come with the next look."""
THREADS = 8
"""Sent folders that are looked into at once. Not asyncio's own threads, which also find the mail
servers' addresses: a few IMAP servers that do not answer would keep emails from leaving."""

FOUND = "found in the Sent folder"

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Doubt:
    """An attempt of which nobody knows whether the mail server took it."""

    enrollment_id: str
    step: int
    attempt: int
    mailbox: str
    """The rep's id."""
    message_id: str

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells it from all others."""
        return self.enrollment_id, self.step, self.attempt


class _Pauses(Generic[K]):
    """Until when each key is left alone: longer every time. Forgotten at a restart."""

    def __init__(self) -> None:
        self._until: dict[K, tuple[int, datetime]] = {}

    def is_over(self, key: K, now: datetime) -> bool:
        return key not in self._until or self._until[key][1] <= now

    def begin(self, key: K, now: datetime) -> None:
        times, _ = self._until.get(key, (0, now))
        self._until[key] = times + 1, now + PAUSES[min(times, len(PAUSES) - 1)]

    def forget(self, key: K) -> None:
        self._until.pop(key, None)

    def keep_only(self, keys: Iterable[K]) -> None:
        wanted = set(keys)
        self._until = {key: until for key, until in self._until.items() if key in wanted}


class Doubts:
    """Looks after all emails in doubt. Its parts come from the worker."""

    def __init__(
        self, store: Store, reps: Reps, look: Look = find_sent, *, every: timedelta = EVERY
    ) -> None:
        self._store = store
        self._reps = reps
        self._look = look
        self._every = every
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sent-folder")
        self._messages: _Pauses[tuple[str, int, int]] = _Pauses()
        self._mailboxes: _Pauses[str] = _Pauses()
        self._looking: set[str] = set()
        """Mailboxes whose server has not answered yet."""
        self._said: dict[str, Trouble] = {}
        self._was_in_trouble = False

    async def run(self, stop: asyncio.Event) -> None:
        """Look again and again until told to stop; a look under way is then given up.

        A server that does not answer delays no other mailbox: the next look begins in time.
        """
        rounds: list[asyncio.Task[None]] = []
        try:
            async with asyncio.TaskGroup() as group:
                while not stop.is_set():
                    rounds = [one for one in rounds if not one.done()]
                    rounds.append(group.create_task(self._round()))
                    await _pause(stop, self._every)
                for one in rounds:
                    one.cancel()
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _round(self) -> None:
        try:
            await self.look_once()
            if not self._looking:  # else another round has yet to see whether the database is back
                self._was_in_trouble = False
        except StoreError as error:
            if not self._was_in_trouble:  # said once, not every minute
                _LOG.warning("emails in doubt wait: %s", type(error).__name__)
            self._was_in_trouble = True

    async def look_once(self) -> int:
        """Look for every email in doubt whose pause is over; how many were found.

        Raises:
            StoreError: The database cannot be used.
        """
        async with self._store.read() as tx:
            now = await self._store.now(tx)
            doubts = await _in_doubt(tx, now)
        self._messages.keep_only(doubt.key for doubt in doubts)
        waiting: dict[str, list[Doubt]] = defaultdict(list)
        for doubt in doubts:
            if self._messages.is_over(doubt.key, now):
                waiting[doubt.mailbox].append(doubt)
        looks = []
        for rep_id, wanted in waiting.items():
            rep = self._reps.by_id(rep_id)
            if rep is None or rep.mailbox.imap is None:
                continue  # Their reps say what became of them.
            if rep_id not in self._looking and self._mailboxes.is_over(rep_id, now):
                looks.append(self._look_into(rep_id, rep.mailbox, wanted[:MOST_AT_ONCE], now))
        found = await asyncio.gather(*looks, return_exceptions=True)
        for answer in found:
            if isinstance(answer, BaseException):
                raise answer
        return sum(answer for answer in found if isinstance(answer, int))

    async def _look_into(
        self, rep_id: str, mailbox: Mailbox, doubts: Sequence[Doubt], now: datetime
    ) -> int:
        """Look into one Sent folder and record what was found."""
        self._looking.add(rep_id)
        try:
            looked = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._look, mailbox, [doubt.message_id for doubt in doubts]
            )
        finally:
            self._looking.discard(rep_id)
        self._say(rep_id, looked.trouble)
        if looked.trouble is None:
            self._mailboxes.forget(rep_id)
        else:
            self._mailboxes.begin(rep_id, now)
        found = 0
        for doubt in doubts:
            if doubt.message_id in looked.copies:
                found += await self._found(doubt, looked.copies[doubt.message_id])
            elif doubt.message_id in looked.missing:
                self._messages.begin(doubt.key, now)
        return found

    def _say(self, rep_id: str, trouble: Trouble | None) -> None:
        """Each trouble once, by the rep's id."""
        said = self._said.pop(rep_id, None)
        if trouble is not None:
            self._said[rep_id] = trouble
            if trouble is not said:
                _LOG.warning(
                    "the Sent folder of rep %s cannot be looked into for emails in doubt: %s",
                    rep_id,
                    trouble,
                )
        elif said is not None:
            _LOG.info("the Sent folder of rep %s can be looked into again", rep_id)

    async def _found(self, doubt: Doubt, at: datetime) -> bool:
        """Record that it was sent, and note that the workflow is told, as for a late 250.

        Whatever somebody has said of it meanwhile stays.
        """
        async with self._store.write() as tx:
            await ledger.enrollment(tx, doubt.enrollment_id)
            message = await ledger.message(tx, doubt.enrollment_id, doubt.step)
            now = await self._store.now(tx)
            if (
                message is None
                or message.state != MessageState.IN_DOUBT
                or message.attempt != doubt.attempt
            ):
                return False
            # By the mail server's clock, which may be wrong: never in the future, nor before DATA.
            sent_at = min(at, now)
            if message.handing_over_at is not None:
                sent_at = max(sent_at, message.handing_over_at)
            await ledger.change(tx, message, now, MessageState.SENT, sent_at=sent_at, answer=FOUND)
            await outbox.put(
                tx,
                doubt.enrollment_id,
                kind="late_answer",
                key=f"found/{doubt.enrollment_id}/{doubt.step}/{doubt.attempt}",
                payload={"step": doubt.step, "at": sent_at.isoformat()},
                now=now,
            )
        _LOG.info("enrollment %s: the email of step %d was sent, it is %s", *doubt.key[:2], FOUND)
        return True


async def _in_doubt(tx: AsyncConnection, now: datetime) -> list[Doubt]:
    """All that are to be looked for, the latest first: they are the likeliest to be found."""
    since = func.coalesce(messages.c.handing_over_at, messages.c.updated_at)
    wanted = (
        select(
            messages.c.enrollment_id,
            messages.c.step,
            messages.c.attempt,
            messages.c.mailbox,
            messages.c.message_id,
        )
        .where(messages.c.state == MessageState.IN_DOUBT, since > now - GIVE_UP_AFTER)
        .order_by(since.desc(), messages.c.enrollment_id, messages.c.step)
    )
    return [Doubt(*row) for row in await tx.execute(wanted)]


async def _pause(stop: asyncio.Event, length: timedelta) -> None:
    try:
        async with asyncio.timeout(length.total_seconds()):
            await stop.wait()
    except TimeoutError:
        return
