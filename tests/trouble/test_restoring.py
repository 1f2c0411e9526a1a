"""Drumbeat's database is restored from a copy of an hour ago, while Temporal knows what came since.

Nothing is sent twice, and nobody who unsubscribed meanwhile is written to.
"""

import secrets
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email import policy
from email.parser import BytesParser
from pathlib import Path

import pytest
from sqlalchemy import select
from temporalio.client import Client

from activities.letters import Letters
from drumbeat.actions import checking
from drumbeat.actions.checking import Kind, Mailboxes, Report
from drumbeat.actions.delivery import Delivery
from drumbeat.actions.restoring import hold_if_restored
from drumbeat.campaign.states import HoldKind, MessageState, Outcome, State
from drumbeat.mail.links import Links
from drumbeat.mail.rendering import Renderer
from drumbeat.settings import Settings
from drumbeat.store import restoring, suppressions
from drumbeat.store.engine import open_store
from drumbeat.store.schema import marks
from tests.activities.world import bump, call, campaign, email
from tests.mail.memory import MemoryMailer
from tests.office import SECRET, Enrolled, Office, open_office, virtual_now
from worker import build_worker
from workflows.messages import Unsubscribed


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "BETWEEN_LOOKS", timedelta(milliseconds=20))


def copy(database: Path, to: Path) -> None:
    """A backup as the documents tell: also of what still lies in the write-ahead log."""
    source, target = sqlite3.connect(database), sqlite3.connect(to)
    source.backup(target)
    source.close()
    target.close()


def restore(backup: Path, database: Path) -> None:
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    shutil.copy(backup, database)


@asynccontextmanager
async def reopened(office: Office, url: str, mailer: MemoryMailer) -> AsyncIterator[Office]:
    """The office after its database was restored; its worker has looked for that, as at a start."""
    store = await open_store(url, clock=virtual_now)
    try:
        assert await hold_if_restored(store, office.client, office.task_queue)
        async with Renderer() as renderer:
            letters = Letters(renderer, Links("http://127.0.0.1:8080", [SECRET]), office.reps)
            again = Office(store, office.client, letters, office.reps, mailer)
            again.task_queue, again.skipper = office.task_queue, office.skipper
            again._skipped = office._skipped
            given = Settings(task_queue=office.task_queue)
            async with build_worker(office.client, given, store, letters, mailer):
                yield again
    finally:
        await store.close()


def to(mailer: MemoryMailer, address: str) -> int:
    return sum(address in received.recipients for received in mailer.received)


async def deliver(office: Office) -> None:
    delivery = Delivery(office.store, office.client, office.task_queue)
    while await delivery.drain():
        pass


async def check(office: Office) -> Report:
    return await checking.check(office.desk, office.task_queue)


async def test_after_restoring_nothing_leaves_until_a_check_is_clean_and_nothing_twice(
    tmp_path: Path, temporal_client: Client
) -> None:
    url, mailer = f"sqlite:///{tmp_path / 'drumbeat.db'}", MemoryMailer()
    unique = secrets.token_hex(4)
    intro = campaign(email(send="choose"), bump(), call())
    ada, ben, eve = (f"{name}-{unique}@example.org" for name in ("ada", "ben", "eve"))
    soon = datetime.now(UTC) + timedelta(hours=1)
    async with open_office(url, temporal_client, mailer) as office:
        written = await office.enroll(intro, ada, send_at=soon)
        leaves = await office.enroll(intro, ben, send_at=soon)
        for one in (written, leaves):
            await office.until(one, lambda p: p.state is State.SLEEPING)
        copy(tmp_path / "drumbeat.db", tmp_path / "backup.db")
        # Meanwhile: Ada's first email leaves, Ben unsubscribes, and Eve is enrolled.
        await office.skip_until_sent(written, 1)
        await leaves.handle.signal("unsubscribed", Unsubscribed())
        assert (await leaves.handle.result()).outcome is Outcome.UNSUBSCRIBED
        lost = await office.enroll(intro, eve, send_at=soon)
        await office.until(lost, lambda p: p.state is State.SLEEPING)
    assert (to(mailer, ada), to(mailer, ben)) == (1, 0)
    restore(tmp_path / "backup.db", tmp_path / "drumbeat.db")
    async with reopened(office, url, mailer) as office:
        async with office.store.read() as tx:
            [held] = await restoring.held_by_it(tx, datetime.now(UTC))
        assert held.kind == HoldKind.MAILBOX
        await deliver(office)
        # Her follow-up falls due, and waits.
        await office.skip(written, days=2)
        await office.until(written, lambda p: p.state is State.HELD)
        assert to(mailer, ada) == 1

        report = await check(office)
        kinds = {each.enrollment: (each.kind, each.mended) for each in report.differences}
        assert kinds == {
            written.id: (Kind.BEHIND, True),
            leaves.id: (Kind.CLOSED, True),
            lost.id: (Kind.UNKNOWN, False),
        }
        assert report.mailboxes is Mailboxes.HELD
        await is_known_again(office, written, ben)

        # Nobody can enroll Eve until her workflow without a row is gone.
        await lost.handle.terminate()
        report = await settled(office)
        assert report.mailboxes is Mailboxes.RELEASED
        await deliver(office)
        await office.skip_until_sent(written, 2)
        assert (to(mailer, ada), to(mailer, ben), to(mailer, eve)) == (2, 0, 0)
        is_reply_with_a_copy(*(received.content for received in mailer.received))

        await written.handle.terminate()


async def is_known_again(office: Office, written: Enrolled, unsubscribed: str) -> None:
    first = await office.message(written, 1)
    assert first is not None
    assert first.state == MessageState.SENT
    async with office.store.read() as tx:
        counted = await tx.execute(
            select(marks.c.handed_over).where(marks.c.enrollment_id == written.id)
        )
        assert counted.scalars().all() == [True]
        found = await suppressions.is_suppressed(tx, unsubscribed)
    assert found is not None
    assert found.source == "unsubscribed"


def is_reply_with_a_copy(first: bytes, second: bytes) -> None:
    """Also of an email whose bytes were lost, its follow-up is in the same thread."""
    one = BytesParser(policy=policy.default).parsebytes(first)
    other = BytesParser(policy=policy.default).parsebytes(second)
    assert other["In-Reply-To"] == one["Message-ID"]
    assert other["Subject"] == f"Re: {one['Subject']}"
    text = other.get_body(("plain",))
    assert text is not None
    assert "> Hello Ada" in text.get_content()


async def settled(office: Office) -> Report:
    """The first check of which nothing is left; what Temporal lists lags a little."""
    for _ in range(100):
        report = await check(office)
        if not report.left:
            return report
    raise AssertionError("something is always left")


async def test_a_database_that_is_up_to_date_holds_nothing(
    tmp_path: Path, temporal_client: Client
) -> None:
    url, mailer = f"sqlite:///{tmp_path / 'drumbeat.db'}", MemoryMailer()
    async with open_office(url, temporal_client, mailer) as office:
        one = await office.enroll(campaign(email(send="choose"), call()), send_at="now")
        await office.until_task(one, 2)
        await one.handle.signal("unsubscribed", Unsubscribed())
        await one.handle.result()
        await office.enroll(campaign(call()), "ben@example.org")
        for _ in range(5):  # what Temporal lists lags a little
            assert not await hold_if_restored(office.store, office.client, office.task_queue)
        async with office.store.read() as tx:
            assert await restoring.held_by_it(tx, datetime.now(UTC)) == []
        assert (await check(office)).mailboxes is Mailboxes.FREE
