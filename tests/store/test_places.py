"""Places on real tables, against a naive model that looks at every mark in a list."""

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from activities.seeking import first_emails, seek
from drumbeat.campaign.calendar import Plan, may_leave
from drumbeat.campaign.model import Window
from drumbeat.campaign.states import MessageState
from drumbeat.mail import limits
from drumbeat.mail.limits import FirstEmails
from drumbeat.reps import Limit
from drumbeat.store import ledger, places
from drumbeat.store.engine import Store, migrate, open_store
from drumbeat.store.places import Full
from drumbeat.store.schema import full_spans, marks, messages
from tests.store.building import NOW, REP, enrollment, rep

EMAILS = 24
ZONE = ZoneInfo("America/New_York")
VALID = limits.VALID_FOR
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mark:
    email: int
    at: datetime
    is_handed_over: bool


class Mailbox:
    """A mailbox on real tables, and beside it the list that says what has to come out."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self.store: Store = self.run(self._open(url))

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(what)

    def close(self) -> None:
        self.run(self.store.close())
        self._runner.close()

    async def _open(self, url: str) -> Store:
        await migrate(url)
        store = await open_store(url)
        async with store.write() as tx:
            await rep(tx, REP)
            for number in range(EMAILS):
                row = await enrollment(tx, f"e{number}", person=f"p{number}")
                await ledger.schedule(tx, row, 2, NOW, NOW)
                # Every third is a follow-up.
                await tx.execute(
                    update(messages)
                    .where(messages.c.enrollment_id == row.id)
                    .values(first=number % 3 > 0)
                )
        return store

    async def begin(
        self, kept: tuple[Limit, ...], per_day: int | None, window: Window | None
    ) -> None:
        self.kept, self.per_day, self.now = kept, per_day, NOW
        self.planned = limits.with_spare(kept)
        self.model: list[Mark] = []
        self.plan = Plan(
            steps=(), zone=ZONE, skip_weekends=False, window=window, kickoff=NOW, holidays=()
        )
        async with self.store.write() as tx:
            await tx.execute(marks.delete())
            await tx.execute(full_spans.delete())
            values = {"state": MessageState.SENDING, "attempt": 1, "handing_over_at": None}
            await tx.execute(update(messages).values(values))

    def leave(self, at: datetime) -> datetime:
        return may_leave(self.plan, at)

    def place_of(self, email: int) -> datetime | None:
        own = [each.at for each in self.model if each.email == email and not each.is_handed_over]
        return own[0] if own else None

    def is_over(self, email: int) -> bool:
        return any(each.email == email and each.is_handed_over for each in self.model)

    async def ask(self, email: int) -> None:
        """As the activity asks; the place must be the one that a look at all marks finds."""
        own = self.place_of(email)
        if self.is_over(email) or self.leave(self.now) > self.now:
            return
        if own is not None and own <= self.now <= own + VALID:
            return
        self.model = [
            each
            for each in self.model
            if each.is_handed_over or (each.email != email and each.at >= self.now - VALID)
        ]
        is_first = email % 3 > 0 and self.per_day is not None
        async with self.store.write() as tx:
            row = await ledger.message(tx, f"e{email}", 2)
            assert row is not None
            await ledger.lock_mailbox(tx, REP)
            await ledger.give_back(tx, row)
            await ledger.give_missed_back(tx, REP, self.now - VALID)
            first = None
            if is_first and self.per_day is not None:
                first = await first_emails(
                    tx, REP, self.now, self.per_day, ZONE, only_handed_over=False
                )
            at = await seek(tx, REP, self.now, self.planned, leave=self.leave, first=first)
            await ledger.take_place(tx, row, at)
        assert at == self.naive_place(is_first=is_first)
        self.model.append(Mark(email, at, is_handed_over=False))

    def naive_place(self, *, is_first: bool) -> datetime:
        first = None
        if is_first and self.per_day is not None:
            used: dict[date, int] = {}
            for each in self.model:
                if each.email % 3 > 0:
                    on = each.at.astimezone(ZONE).date()
                    used[on] = used.get(on, 0) + 1
            first = FirstEmails(self.per_day, ZONE, used)
        return limits.place(
            self.now,
            leave=self.leave,
            marks=sorted(each.at for each in self.model),
            limits=self.planned,
            first=first,
        )

    async def use(self, email: int) -> None:
        """Hand over, if the place is valid now."""
        own = self.place_of(email)
        if own is None or not own <= self.now <= own + VALID:
            return
        async with self.store.write() as tx:
            row = await ledger.message(tx, f"e{email}", 2)
            assert row is not None
            assert await ledger.hand_over(tx, row, 1, self.now)
        self.model = [each for each in self.model if each.email != email]
        self.model.append(Mark(email, self.now, is_handed_over=True))

    async def give_back(self, email: int) -> None:
        async with self.store.write() as tx:
            await ledger.give_all_back(tx, f"e{email}", None)
        self.model = [each for each in self.model if each.email != email or each.is_handed_over]

    def keeps_the_limits(self) -> bool:
        """No half-open span of a limit's length holds more marks than its count."""
        sent = sorted(each.at for each in self.model if each.is_handed_over)
        return all(
            sum(at <= other < at + limit.span for other in sent) <= limit.count
            for limit in self.kept
            for at in sent
        )

    def keeps_the_days(self) -> bool:
        days = [
            each.at.astimezone(ZONE).date()
            for each in self.model
            if each.is_handed_over and each.email % 3 > 0
        ]
        return self.per_day is None or all(days.count(on) <= self.per_day for on in days)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def mailbox(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mailbox]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('places') / 'drumbeat.db'}"
    else:
        cluster = request.getfixturevalue("postgres_cluster")
        url = cluster.url(cluster.create_database("places"))
    opened = Mailbox(url)
    yield opened
    opened.close()


some_limits = st.lists(
    st.builds(
        Limit,
        st.integers(min_value=1, max_value=4),
        st.sampled_from([3, 10, 45, 3600, 86400]).map(lambda s: timedelta(seconds=s)),
    ),
    max_size=2,
    unique_by=lambda limit: limit.span,
).map(tuple)
windows = st.sampled_from([None, Window(start=time(9), end=time(10))])
email_numbers = st.integers(min_value=0, max_value=EMAILS - 1)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), email_numbers),
        st.tuples(st.just("ask"), email_numbers),
        st.tuples(st.just("use"), email_numbers),
        st.tuples(st.just("give_back"), email_numbers),
        st.tuples(st.just("pass"), st.sampled_from([1, 4, 7, 50, 3000, 86400])),
        st.tuples(st.just("next_place"), st.integers(min_value=0, max_value=5)),
    ),
    min_size=10,
    max_size=60,
)


@given(some_limits, st.sampled_from([None, 1, 2]), windows, steps)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_place_is_the_one_that_a_look_at_all_marks_finds(
    mailbox: Mailbox,
    kept: tuple[Limit, ...],
    per_day: int | None,
    window: Window | None,
    todo: list[tuple[str, int]],
) -> None:
    async def walk() -> None:
        await mailbox.begin(kept, per_day, window)
        for what, number in todo:
            if what == "ask":
                await mailbox.ask(number)
            elif what == "use":
                await mailbox.use(number)
            elif what == "give_back":
                await mailbox.give_back(number)
            elif what == "pass":
                mailbox.now += timedelta(seconds=number)
            else:  # to where the next place is, or a little later; who has it uses it
                waiting = [each for each in mailbox.model if not each.is_handed_over]
                if waiting:
                    following = min(waiting, key=lambda each: each.at)
                    mailbox.now = max(mailbox.now, following.at + timedelta(seconds=number))
                    await mailbox.use(following.email)
        async with mailbox.store.read() as tx:
            found = await tx.execute(select(marks.c.at).order_by(marks.c.at))
        assert list(found.scalars()) == sorted(each.at for each in mailbox.model)
        assert mailbox.keeps_the_limits()
        assert mailbox.keeps_the_days()

    mailbox.run(walk())


@given(st.lists(email_numbers, unique=True, min_size=5), some_limits)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_who_asks_first_has_the_earlier_place(
    mailbox: Mailbox, order: list[int], kept: tuple[Limit, ...]
) -> None:
    async def walk() -> list[datetime | None]:
        await mailbox.begin(kept, None, None)
        for email in order:
            await mailbox.ask(email)
        return [mailbox.place_of(email) for email in order]

    found = mailbox.run(walk())
    assert found == sorted(at for at in found if at is not None)


def test_changed_limits_count_from_the_next_ask(mailbox: Mailbox) -> None:
    async def walk() -> None:
        await mailbox.begin((Limit(1, timedelta(hours=1)),), None, None)
        for email in range(3):
            await mailbox.ask(email)
        mailbox.planned = limits.with_spare([Limit(2, timedelta(seconds=45))])
        for email in range(3, 9):
            await mailbox.ask(email)

    mailbox.run(walk())


moments = st.integers(min_value=0, max_value=40)


@given(
    st.lists(st.tuples(st.sampled_from(["add", "free"]), moments, moments), max_size=12), moments
)
def test_what_is_known_to_be_full_is_what_was_added_and_not_freed(
    changes: list[tuple[str, int, int]], asked: int
) -> None:
    def second(offset: int) -> datetime:
        return NOW + timedelta(seconds=offset)

    known = Full("", timedelta(seconds=5))
    naive: set[int] = set()  # of the seconds that begin then
    for what, one, other in changes:
        if what == "add" and one < other:
            known.add(second(one), second(other))
            naive |= set(range(one, other))
        elif what == "free":
            known.free(second(one))
            naive -= set(range(one - 5, one + 5))
    assert known.spans == sorted(known.spans)
    first = next(at for at in range(asked, 100) if at not in naive)
    assert known.skip(second(asked)) == second(first)
    known.forget(second(asked))
    assert known.skip(second(asked)) == second(first)


async def test_a_place_given_back_while_somebody_asks_is_not_lost(store: Store) -> None:
    """On PostgreSQL two transactions: the second waits until the first is through."""
    one_an_hour = limits.with_spare([Limit(1, timedelta(hours=1))])
    hour = timedelta(hours=1, seconds=5)
    async with store.write() as tx:
        await rep(tx)
        row = await enrollment(tx, "e1")
        await ledger.schedule(tx, row, 2, NOW, NOW)
        message = await ledger.message(tx, "e1", 2)
        assert message is not None
        await _seek(tx, one_an_hour, NOW)
        await ledger.take_place(tx, message, NOW + hour)
        await tx.execute(insert(marks).values(_mark(NOW)))

    async def ask() -> datetime:
        async with store.write() as tx:
            at = await _seek(tx, one_an_hour, NOW)
            await tx.execute(insert(marks).values(_mark(at)))
            return at

    async def give_back() -> None:
        async with store.write() as tx:
            await ledger.give_back(tx, message)

    asked = [await ask()]
    found = await asyncio.gather(ask(), give_back(), ask())
    asked += [at for at in found if at is not None]
    asked.append(await ask())
    # Whoever came first: the place is taken again, and only once.
    assert sorted(asked) == [NOW + hour * number for number in (1, 2, 3, 4)]


async def _seek(tx: Any, planned: tuple[Limit, ...], now: datetime) -> datetime:
    await ledger.lock_mailbox(tx, REP)
    return await seek(tx, REP, now, planned, leave=lambda at: at)


def _mark(at: datetime) -> dict[str, Any]:
    values = {"mailbox": REP, "at": at, "handed_over": True, "first": False}
    return values | {"enrollment_id": "e0", "step": 1, "attempt": 1}


async def test_among_many_marks_the_database_gives_them_as_one_value(store: Store) -> None:
    ats = [NOW + timedelta(microseconds=7 * number) for number in range(500)]
    async with store.write() as tx:
        await rep(tx)
        await tx.execute(insert(marks), [_mark(at) for at in reversed(ats)])
        assert list(await places.counted(tx, REP, NOW - timedelta(days=1))) == ats
        assert (await places.counted(tx, REP, ats[10]))[0] == ats[11]
        assert (await places.counted(tx, REP, NOW))[-1] == ats[-1]
        assert len(await places.counted(tx, "r2", NOW)) == 0
