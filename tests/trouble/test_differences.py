"""Each kind of difference between tables and workflows is found, printed and mended."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update
from temporalio.client import Client

from drumbeat.actions import checking
from drumbeat.actions.checking import Difference, Kind, Report
from drumbeat.campaign.states import HoldKind, State, WhyCode
from drumbeat.cli.check import _line
from drumbeat.mail.outcomes import Phase
from drumbeat.store.schema import enrollments, events, messages, tasks
from tests.activities.world import call, campaign, email
from tests.mail.memory import MemoryMailer
from tests.office import Enrolled, Office, open_office
from workflows.messages import Hold

SOON = timedelta(hours=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "BETWEEN_LOOKS", timedelta(milliseconds=20))


@pytest.fixture
async def office(tmp_path: Path, temporal_client: Client) -> AsyncIterator[Office]:
    url = f"sqlite:///{tmp_path / 'drumbeat.db'}"
    async with open_office(url, temporal_client, MemoryMailer()) as opened:
        yield opened


async def check(office: Office) -> Report:
    return await checking.check(office.desk, office.task_queue)


async def asleep(office: Office) -> Enrolled:
    """At an email that is due in an hour."""
    at = datetime.now(UTC) + SOON
    one = await office.enroll(campaign(email(send="choose"), call()), _address(), send_at=at)
    await office.until(one, lambda p: p.state is State.SLEEPING)
    async with office.store.write() as tx:  # as enrolling writes it
        await tx.execute(
            update(enrollments)
            .where(enrollments.c.id == one.id)
            .values(next_at=at, why={"code": "time"})
        )
    return one


async def at_a_task(office: Office) -> Enrolled:
    """An email is sent, a task is open."""
    what = campaign(email(send="choose"), call(), call(), days=[1, 1, 2])
    one = await office.enroll(what, _address(), send_at="now")
    await office.until_task(one, 2)
    await office.until(one, lambda p: p.state is State.TASK)
    return one


def _address() -> str:
    return f"ada-{secrets.token_hex(4)}@example.org"


def spoil(**values: object) -> Callable[[Office, Enrolled], Awaitable[None]]:
    async def change(office: Office, one: Enrolled) -> None:
        async with office.store.write() as tx:
            await tx.execute(update(enrollments).where(enrollments.c.id == one.id).values(**values))

    return change


async def lose_the_task(office: Office, one: Enrolled) -> None:
    async with office.store.write() as tx:
        await tx.execute(delete(tasks).where(tasks.c.enrollment_id == one.id))


async def forget_the_send(office: Office, one: Enrolled) -> None:
    async with office.store.write() as tx:
        await tx.execute(
            update(messages)
            .where(messages.c.enrollment_id == one.id)
            .values(state="scheduled", sent_at=None)
        )


async def lose_the_email(office: Office, one: Enrolled) -> None:
    async with office.store.write() as tx:
        await tx.execute(delete(messages).where(messages.c.enrollment_id == one.id))


async def lose_the_events(office: Office, one: Enrolled) -> None:
    async with office.store.write() as tx:
        await tx.execute(delete(events).where(events.c.enrollment_id == one.id))


Made = Callable[[Office], Awaitable[Enrolled]]
Spoilt = Callable[[Office, Enrolled], Awaitable[None]]


@pytest.mark.parametrize(
    ("made", "spoilt", "words"),
    [
        (asleep, spoil(state="held"), "the tables say held at step 1"),
        (asleep, spoil(step=2), "at step 2"),
        (asleep, spoil(why={"code": "limits"}), "the workflow sleeping at step 1"),
        (asleep, spoil(next_at=datetime(2031, 1, 1, tzinfo=UTC)), "next 2031-01-01"),
        (asleep, lose_the_email, "behind: email 1"),
        (at_a_task, lose_the_task, "behind: task 2"),
        (at_a_task, forget_the_send, "behind: email 1"),
        (at_a_task, lose_the_email, "behind: email 1"),
        (at_a_task, lose_the_events, "lost events: 2"),
    ],
    ids=[
        "wrong state",
        "wrong step",
        "wrong reason",
        "wrong time",
        "lost email",
        "lost task",
        "email behind",
        "lost sent email",
        "lost events",
    ],
)
async def test_what_the_tables_say_wrong_is_found_printed_and_mended(
    office: Office, made: Made, spoilt: Spoilt, words: str
) -> None:
    one = await made(office)
    assert (await check(office)).differences == []
    before = await everything(office, one)
    await spoilt(office, one)
    [difference] = (await check(office)).differences
    assert (difference.kind, difference.mended) == (Kind.BEHIND, True)
    line = _line(difference)
    assert words in line
    assert "the tables are mended" in line
    assert "@example.org in intro-q4: behind:" in line
    assert (await check(office)).differences == []
    assert await everything(office, one) == before
    await one.handle.terminate()


async def everything(office: Office, one: Enrolled) -> Sequence[object]:
    """What pages and sends go by."""
    row = await office.row(one)
    async with office.store.read() as tx:
        emails = await tx.execute(
            select(messages.c.step, messages.c.state).where(messages.c.enrollment_id == one.id)
        )
        work = await tx.execute(
            select(tasks.c.step, tasks.c.status, tasks.c.due, tasks.c.rep_id).where(
                tasks.c.enrollment_id == one.id
            )
        )
        return (
            row.state,
            row.step,
            row.why and row.why["code"],
            sorted(map(tuple, emails)),
            sorted(map(tuple, work)),
            sorted(await office.timeline(one)),
        )


async def held(office: Office) -> Enrolled:
    one = await asleep(office)
    await one.handle.signal("hold", Hold(hold_id="h1", kind=HoldKind.PERSON))
    await office.until(one, lambda p: p.state is State.HELD)
    return one


async def blocked(office: Office) -> Enrolled:
    what = campaign(email("<p>{{ industry }}</p>", send="choose"), call())
    one = await office.enroll(what, _address(), send_at="now")
    await office.until(one, lambda p: p.state is State.BLOCKED)
    return one


async def failed(office: Office) -> Enrolled:
    return await refused(office, Phase.DATA, 552, State.FAILED)


async def in_doubt(office: Office) -> Enrolled:
    return await refused(office, Phase.DATA, None, State.IN_DOUBT)


async def deferred(office: Office) -> Enrolled:
    return await refused(office, Phase.RCPT, 451, State.SLEEPING)


async def refused(office: Office, phase: Phase, code: int | None, state: State) -> Enrolled:
    assert isinstance(office.mailer, MemoryMailer)
    office.mailer.once(phase, code, "no")
    one = await office.enroll(campaign(email(send="choose"), call()), _address(), send_at="now")
    codes = (WhyCode.RETRY, WhyCode.REFUSED, WhyCode.IN_DOUBT)
    await office.until(
        one, lambda p: p.state is state and p.why is not None and p.why.code in codes
    )
    return one


@pytest.mark.parametrize("made", [held, blocked, failed, in_doubt, deferred])
async def test_whatever_an_enrollment_waits_for_is_no_difference(
    office: Office, made: Made
) -> None:
    one = await made(office)
    assert (await check(office)).differences == []
    await one.handle.terminate()


async def test_many_differences_at_once_are_all_mended(office: Office) -> None:
    several = [await asleep(office) for _ in range(12)]
    for one in several:
        await spoil(state="blocked")(office, one)
    report = await check(office)
    assert (report.checked, len(report.differences), report.left) == (12, 12, 0)
    assert {each.enrollment for each in report.differences} == {one.id for one in several}
    assert (await check(office)).differences == []
    for one in several:
        await one.handle.terminate()


def test_a_line_names_person_campaign_both_sides_and_what_was_done() -> None:
    difference = Difference(
        kind=Kind.UNKNOWN,
        workflow_id="campaign/intro-q4/p0123456789abcdef0123",
        enrollment=None,
        campaign="intro-q4",
        person=None,
        tables="no row",
        workflow="running",
        mended=False,
        text="terminate it",
    )
    assert _line(difference) == (
        "campaign/intro-q4/p0123456789abcdef0123 in intro-q4: unknown: "
        "the tables say no row, the workflow running: terminate it"
    )
