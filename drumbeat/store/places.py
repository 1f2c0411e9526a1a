"""What counts against a mailbox's limits, read so that a place among 10,000 costs few milliseconds.

Whoever looks for a place would have to walk along all marks that come before it. So the database
keeps the spans in which no place was found, per mailbox: the next one who asks begins behind them.
They stay true when a mark is added, or moves forward to now; a place that is given back is cut out
of them. A look at the marks near an instant is one statement; where many are to be walked along,
they come as one value of which only those that somebody looks at are made into datetimes.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol, overload

from sqlalchemy import (
    LargeBinary,
    Row,
    Select,
    String,
    bindparam,
    cast,
    func,
    literal,
    select,
    type_coerce,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.store.engine import insert_new
from drumbeat.store.schema import Moment, full_spans, marks

Span = tuple[datetime, datetime]
"""From an instant until before another, UTC."""
SPANS_AT_MOST = 50
"""More are not kept: what is not known to be full is only looked at again."""
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Full:
    """The spans in which a mailbox is known to have no place, by one set of limits."""

    planned: str
    """The limits, as text: what was found by others says nothing."""
    reach: timedelta
    """The longest span of a limit: so far, and no farther, a mark counts."""
    spans: list[Span] = field(default_factory=list)
    """Ascending; none touches another."""

    def skip(self, at: datetime) -> datetime:
        """The first instant, at or after `at`, that is not known to be full."""
        for begin, end in self.spans:
            if begin <= at < end:
                return end
        return at

    def add(self, begin: datetime, end: datetime) -> None:
        """No place is free from `begin` until before `end`."""
        apart = []
        for one, other in self.spans:
            if other < begin or end < one:
                apart.append((one, other))
            else:
                begin, end = min(begin, one), max(end, other)
        self.spans = sorted([*apart, (begin, end)])

    def free(self, at: datetime) -> None:
        """A mark at an instant is gone: it counted for all that are less than the reach away."""
        low, high = at - self.reach, at + self.reach
        left = []
        for begin, end in self.spans:
            parts = ((begin, min(end, low)), (max(begin, high), end))
            left += [part for part in parts if part[0] < part[1]]
        self.spans = left

    def forget(self, now: datetime) -> None:
        """Leave out what has passed, for which nobody asks any more."""
        self.spans = [span for span in self.spans if span[1] > now][:SPANS_AT_MOST]


async def full(tx: AsyncConnection, mailbox: str, planned: str, reach: timedelta) -> Full:
    """What is known to be full, locked where the database locks rows.

    Read it before any mark: who gives a place back meanwhile waits to cut it out.

    Args:
        tx: A write transaction.
        mailbox: The rep's id.
        planned: The limits with which places are planned now, as text.
        reach: The longest of their spans.
    """
    found = await _locked(tx, mailbox)
    if found is None:
        await insert_new(
            tx, full_spans, {"mailbox": mailbox, "planned": "", "reach": 0, "spans": []}
        )
        found = await _locked(tx, mailbox)
    if found is None or found.planned != planned:
        return Full(planned, reach)
    return Full(planned, reach, _read(found.spans))


async def keep_full(tx: AsyncConnection, mailbox: str, known: Full) -> None:
    """Keep what is known to be full now."""
    values = {
        "planned": known.planned,
        "reach": int(known.reach.total_seconds()),
        "spans": [[begin.isoformat(), end.isoformat()] for begin, end in known.spans],
    }
    await tx.execute(_KEEP, {"of": mailbox} | values)


async def freed(tx: AsyncConnection, places: Iterable[tuple[str, datetime]]) -> None:
    """Places were given back: whoever asks next looks there again.

    Args:
        tx: The transaction that has deleted them.
        places: Each with its mailbox and its instant.
    """
    for mailbox, at in places:
        # There is a row: places are taken only by who has asked what is full.
        found = await _locked(tx, mailbox)
        if found is None or not found.spans:
            continue
        known = Full(found.planned, timedelta(seconds=found.reach), _read(found.spans))
        before = list(known.spans)
        known.free(at)
        if known.spans != before:
            await keep_full(tx, mailbox, known)


# Made once, as each email asks: SQLAlchemy takes longer to make a statement than SQLite to carry
# it out (docs/measured.md).
_FULL = select(full_spans).where(full_spans.c.mailbox == bindparam("of")).with_for_update()
_KEEP = update(full_spans).where(full_spans.c.mailbox == bindparam("of"))


async def _locked(tx: AsyncConnection, mailbox: str) -> Row[Any] | None:
    return (await tx.execute(_FULL, {"of": mailbox})).one_or_none()


def _read(spans: Iterable[tuple[str, str]]) -> list[Span]:
    return [(datetime.fromisoformat(begin), datetime.fromisoformat(end)) for begin, end in spans]


@dataclass(frozen=True, slots=True)
class Group:
    """The last marks before an instant, as many as a limit allows."""

    first: datetime | None
    """None: there are not so many."""
    last: datetime | None


async def last_groups(
    tx: AsyncConnection, mailbox: str, groups: Sequence[tuple[int, datetime]]
) -> list[Group]:
    """For each limit's count, the last so many marks before an instant: one statement for all."""
    values: dict[str, Any] = {"of": mailbox}
    for number, (_, before) in enumerate(groups):
        values[f"before{number}"] = before
    counts = tuple(count for count, _ in groups)
    found = (await tx.execute(_last_groups(counts), values)).one()
    return [Group(found[2 * index], found[2 * index + 1]) for index in range(len(groups))]


@lru_cache(maxsize=64)
def _last_groups(counts: tuple[int, ...]) -> Select[Any]:
    columns = []
    for number, count in enumerate(counts):
        before = (
            select(marks.c.at)
            .where(
                marks.c.mailbox == bindparam("of"),
                marks.c.at < bindparam(f"before{number}", type_=Moment()),
            )
            .order_by(marks.c.at.desc())
            .limit(1)
        )
        columns += [before.offset(count - 1).scalar_subquery(), before.scalar_subquery()]
    return select(*columns)


async def near(
    tx: AsyncConnection, mailbox: str, after: datetime, before: datetime
) -> Sequence[datetime]:
    """The marks between two instants, ascending."""
    wanted = select(marks.c.at).where(
        marks.c.mailbox == mailbox, marks.c.at > after, marks.c.at < before
    )
    return (await tx.execute(wanted.order_by(marks.c.at))).scalars().all()


class Instants(Sequence[datetime]):
    """Instants (UTC), ascending, each made only when it is looked at."""

    def __init__(self, stored: "_Stored") -> None:
        self._stored = stored

    def __len__(self) -> int:
        return len(self._stored)

    @overload
    def __getitem__(self, index: int) -> datetime: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[datetime]: ...
    def __getitem__(self, index: int | slice) -> datetime | Sequence[datetime]:
        """One instant, or a part of them."""
        if isinstance(index, slice):
            return [self._stored.moment(each) for each in range(*index.indices(len(self)))]
        return self._stored.moment(index)


class _Stored(Protocol):
    def __len__(self) -> int: ...
    def moment(self, index: int) -> datetime: ...


class _Texts:
    """As SQLite keeps moments: texts of one length, whose order is that of the moments."""

    def __init__(self, joined: str | None) -> None:
        self._texts = sorted(joined.split(",")) if joined else []

    def __len__(self) -> int:
        return len(self._texts)

    def moment(self, index: int) -> datetime:
        return datetime.fromisoformat(self._texts[index]).replace(tzinfo=UTC)


class _Numbers:
    """As PostgreSQL sends moments: microseconds since 2000, eight bytes each."""

    def __init__(self, joined: bytes | None) -> None:
        self._numbers = array("q", joined or b"")
        self._numbers.byteswap()

    def __len__(self) -> int:
        return len(self._numbers)

    def moment(self, index: int) -> datetime:
        return _POSTGRES_EPOCH + timedelta(microseconds=self._numbers[index])


async def counted(
    tx: AsyncConnection,
    mailbox: str,
    since: datetime,
    *,
    only_handed_over: bool = False,
    only_first: bool = False,
) -> Instants:
    """The marks that count against a mailbox's limits since an instant (UTC), ascending.

    Args:
        tx: A transaction.
        mailbox: The rep's id.
        since: Marks at this instant and before it are left out.
        only_handed_over: Leave places out that are taken and not used yet.
        only_first: Leave all out but enrollments' first emails.
    """
    is_sqlite = tx.dialect.name == "sqlite"
    wanted = _WANTED[is_sqlite, only_handed_over, only_first]
    joined = (await tx.execute(wanted, {"of": mailbox, "since": since})).scalar_one()
    return Instants(_Texts(joined) if is_sqlite else _Numbers(joined))


def _wanted(*, is_sqlite: bool, only_handed_over: bool, only_first: bool) -> Select[Any]:
    """One value; without conditions but the first two, the index alone answers."""
    conditions = [
        marks.c.mailbox == bindparam("of"),
        marks.c.at > bindparam("since", type_=Moment()),
    ]
    if only_handed_over:
        conditions.append(marks.c.handed_over)
    if only_first:
        conditions.append(marks.c.first)
    if is_sqlite:
        return select(func.group_concat(type_coerce(marks.c.at, String), type_=String)).where(
            *conditions
        )
    sent = func.timestamptz_send(marks.c.at, type_=LargeBinary)
    between = cast(literal(b"", LargeBinary), LargeBinary)
    ordered = aggregate_order_by(between, marks.c.at)
    return select(func.string_agg(sent, ordered, type_=LargeBinary)).where(*conditions)


_WANTED = {
    (is_sqlite, only_handed_over, only_first): _wanted(
        is_sqlite=is_sqlite, only_handed_over=only_handed_over, only_first=only_first
    )
    for is_sqlite in (True, False)
    for only_handed_over in (True, False)
    for only_first in (True, False)
}
