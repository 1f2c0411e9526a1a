"""Seek the earliest place within a mailbox's limits, among what the database knows of it.

It finds exactly what `drumbeat.mail.limits.place` finds among all marks, and reads only those near
the instants in question; where a mailbox is known to be full it does not look at all.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign.calendar import resolve
from drumbeat.mail import limits
from drumbeat.mail.limits import FirstEmails, Limit
from drumbeat.store import places
from drumbeat.store.places import Full

LOOKS = 6
"""Near the instants in question; what takes more is walked along in one go."""
A_DATE = timedelta(days=2)
"""Long enough for the date of now, wherever the mailbox's owner is."""


async def seek(
    tx: AsyncConnection,
    mailbox: str,
    at: datetime,
    planned: Sequence[Limit],
    *,
    leave: Callable[[datetime], datetime],
    first: FirstEmails | None = None,
) -> datetime:
    """The earliest place (UTC), at or after `at`, that the calendar and all limits allow.

    Args:
        tx: A write transaction, in which the mailbox is locked and the email has no place.
        mailbox: The rep's id.
        at: When the email asks: now.
        planned: The limits to plan with (`limits.with_spare`).
        leave: As for `limits.place`.
        first: As for `limits.place`.
    """
    seeker = await _Seeker.open(tx, mailbox, tuple(planned))
    now = at
    while True:
        found = await seeker.next_free(leave(at))
        if first is not None:
            found = limits.earliest_on_free_day(found, first)
        if found == at:
            break
        at = found
    await seeker.close(now)
    return at


class _Seeker:
    """One search, and what is known to be full."""

    def __init__(
        self, tx: AsyncConnection, mailbox: str, planned: tuple[Limit, ...], known: Full
    ) -> None:
        self._tx = tx
        self._mailbox = mailbox
        self._planned = planned
        self._known = known
        self._before = list(known.spans)

    @classmethod
    async def open(cls, tx: AsyncConnection, mailbox: str, planned: tuple[Limit, ...]) -> "_Seeker":
        name = " ".join(f"{limit.count}/{limit.span.total_seconds():g}" for limit in planned)
        reach = max((limit.span for limit in planned), default=timedelta())
        return cls(tx, mailbox, planned, await places.full(tx, mailbox, name, reach))

    async def next_free(self, start: datetime) -> datetime:
        """The first instant, at or after `start`, where one more mark keeps every limit."""
        if not self._planned:
            return start
        at = self._known.skip(start)
        for _ in range(LOOKS):
            later = await self._look(at)
            if later == at:
                break
            at = self._known.skip(later)
        else:
            taken = await places.counted(self._tx, self._mailbox, at - self._known.reach)
            at = limits.earliest(at, taken, self._planned)
        if at > start:
            self._known.add(start, at)
        return at

    async def _look(self, at: datetime) -> datetime:
        """`at` where it is free; else an instant until which nothing is."""
        groups = await places.last_groups(
            self._tx,
            self._mailbox,
            [(limit.count, at + limit.span) for limit in self._planned],
        )
        later = at
        for limit, group in zip(self._planned, groups, strict=True):
            if group.first is None or group.last is None or group.first <= at - limit.span:
                continue  # So few marks are near that one more fits.
            if group.last - group.first < limit.span:
                later = max(later, group.first + limit.span)
                continue
            # The last ones leave room; earlier ones may not.
            taken = await places.near(self._tx, self._mailbox, at - limit.span, at + limit.span)
            later = max(later, limits.end_of_full(at, taken, limit))
        return later

    async def close(self, now: datetime) -> None:
        """Keep what is new, for who asks next."""
        self._known.forget(now)
        if self._known.spans != self._before:
            await places.keep_full(self._tx, self._mailbox, self._known)


async def first_emails(
    tx: AsyncConnection,
    mailbox: str,
    now: datetime,
    per_day: int,
    zone: ZoneInfo,
    *,
    only_handed_over: bool,
) -> FirstEmails:
    """How many first emails count for each date, where the mailbox's owner is."""
    taken = await places.counted(
        tx, mailbox, now - A_DATE, only_handed_over=only_handed_over, only_first=True
    )
    return FirstEmails(per_day, zone, _ByDate(taken, zone))


class _ByDate(Mapping[date, int]):
    """The number of marks on a date, counted when somebody asks for it."""

    def __init__(self, taken: Sequence[datetime], zone: ZoneInfo) -> None:
        self._taken = taken
        self._zone = zone

    def __getitem__(self, on: date) -> int:
        begin = bisect_left(self._taken, resolve(on, time(0), self._zone))
        end = bisect_left(self._taken, resolve(on + timedelta(days=1), time(0), self._zone), begin)
        return end - begin

    def __iter__(self) -> Iterator[date]:
        return iter(sorted({at.astimezone(self._zone).date() for at in self._taken}))

    def __len__(self) -> int:
        return sum(1 for _ in self)
