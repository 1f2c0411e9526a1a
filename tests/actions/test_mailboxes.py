from datetime import timedelta

import pytest
from sqlalchemy import insert

from drumbeat.actions import mailboxes
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.mail.sending import SmtpMailer
from drumbeat.reps import Limit, Mailbox, MailboxError, Rep, Reps, Server, Tls
from drumbeat.store import keys
from drumbeat.store import mailboxes as table
from drumbeat.store import reps as store_reps
from drumbeat.store.engine import Store
from drumbeat.store.schema import marks
from tests.actions.tables_only import desk_without_temporal
from tests.activities.world import MONDAY, Clock, local
from tests.mail.memory import MemoryMailer
from tests.mail.servers import refused_port

GRACE = "grace@example.com"


def grace(port: int = 1, **changes: object) -> Rep:
    smtp = Server("127.0.0.1", port, Tls.NONE)
    box = Mailbox(GRACE, smtp, batch=Limit(25, timedelta(seconds=45)), **changes)  # type: ignore[arg-type]
    return Rep(GRACE, "Grace Hopper", box, timezone="America/New_York")


async def staff(store: Store, *reps: Rep) -> Reps:
    store._clock = Clock()
    async with store.write() as tx:
        known = Reps(reps or (grace(),), await keys.people_key(tx))
        await store_reps.sync(tx, known, MONDAY)
    return known


async def mark(store: Store, known: Reps, **ago: float) -> None:
    """An email handed over that long ago; one in the future is a place."""
    at = MONDAY - timedelta(**ago)
    values = {
        "mailbox": known.id_of(next(iter(known))),
        "at": at,
        "handed_over": at <= MONDAY,
        "first": "minutes" in ago or "hours" in ago,
        "enrollment_id": "0123456789abcdef",
        "step": 1,
        "attempt": 1,
    }
    async with store.write() as tx:
        await tx.execute(insert(marks).values(values))


async def shown(store: Store, known: Reps) -> mailboxes.MailboxShown:
    async with store.read() as tx:
        [one] = await mailboxes.every(tx, known, MONDAY)
    return one


async def test_a_mailbox_is_shown_with_its_use_within_each_limit(store: Store) -> None:
    known = await staff(store, grace(first_emails_per_day=50))
    for ago in ({"seconds": 1}, {"seconds": 44}, {"seconds": 45}, {"minutes": 5}, {"hours": 24}):
        await mark(store, known, **ago)
    await mark(store, known, seconds=-30)
    one = await shown(store, known)
    assert [(use.limit.count, use.used) for use in one.uses] == [(25, 2), (1000, 4)]
    assert (one.places, one.last_place) == (1, MONDAY + timedelta(seconds=30))
    assert one.server == "127.0.0.1:1"
    first = one.first_emails
    assert (first.on.isoformat(), first.used, first.limit) == ("2026-11-23", 1, 50)


async def test_first_emails_count_from_midnight_where_the_owner_is(store: Store) -> None:
    known = await staff(store)
    await mark(store, known, hours=8)  # at midnight itself
    await mark(store, known, hours=8.1)
    assert (await shown(store, known)).first_emails.used == 1


async def test_a_held_mailbox_is_shown_with_reason_and_words(store: Store) -> None:
    known = await staff(store)
    desk = desk_without_temporal(store)
    _, at = await mailboxes.hold(
        desk, known, [GRACE], until="2026-11-24T09:00", reason="535 go away"
    )
    assert at == local("2026-11-24T09:00")
    async with store.write() as tx:
        await table.troubled(tx, known.id_of(next(iter(known))), "p1", "421 busy")
    one = await shown(store, known)
    [hold] = one.holds
    assert (hold.reason, hold.who, hold.until) == ("535 go away", "Grace Hopper", at)
    assert one.trouble == "421 busy"
    await mailboxes.release(desk, known, [GRACE])
    one = await shown(store, known)
    assert (one.holds, one.trouble) == ([], None)
    with pytest.raises(ActionError, match=r"nothing holds the mailbox of grace@example\.com"):
        await mailboxes.release(desk, known, [GRACE])


async def test_a_proof_is_noted_and_a_failure_is_not(store: Store) -> None:
    known = await staff(store, grace(await refused_port()))
    desk = desk_without_temporal(store)
    mailer = SmtpMailer()
    proof = await mailboxes.check(desk, mailer, known, GRACE)
    await mailer.close()
    assert not proof.ok
    assert (await shown(store, known)).proved_at is None
    proof = await mailboxes.check(desk, MemoryMailer(), known, " GRACE@example.com")
    assert proof.ok
    assert (await shown(store, known)).proved_at == MONDAY


async def test_a_missing_password_is_told_by_its_name(store: Store) -> None:
    known = await staff(store, grace(password_env="NO_SUCH_PASSWORD"))
    with pytest.raises(MailboxError, match="NO_SUCH_PASSWORD, which is not set"):
        await mailboxes.check(desk_without_temporal(store), MemoryMailer(), known, GRACE)


async def test_an_unknown_mailbox_is_named(store: Store) -> None:
    known = await staff(store)
    desk = desk_without_temporal(store)
    for asked in (
        mailboxes.hold(desk, known, ["nobody@example.com"]),
        mailboxes.release(desk, known, ["nobody@example.com"]),
        mailboxes.check(desk, MemoryMailer(), known, "nobody@example.com"),
    ):
        with pytest.raises(NotFound, match=r"no rep has the address nobody@example\.com"):
            await asked
