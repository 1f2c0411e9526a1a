"""What is deleted every hour, and what is not."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, insert, select

from drumbeat.actions import signing
from drumbeat.actions.tidying import Tidying
from drumbeat.reps import Limit, Mailbox, Reps
from drumbeat.store import keys, reps
from drumbeat.store.engine import Store
from drumbeat.store.schema import marks, sessions
from drumbeat.store.users import Role
from tests.office import grace


async def test_marks_go_when_no_limit_can_count_them(store: Store) -> None:
    mailbox = Mailbox("grace@example.com", grace().mailbox.smtp, batch=Limit(5, timedelta(days=3)))
    async with store.write() as tx:
        known = Reps([grace(mailbox=mailbox)], await keys.people_key(tx))
        now = datetime.now(UTC)
        await reps.sync(tx, known, now)
        for days in (1, 4, 6):
            values = {
                "mailbox": known.id_of(next(iter(known))),
                "at": now - timedelta(days=days),
                "handed_over": True,
                "first": False,
                "enrollment_id": "e",
                "step": days,
                "attempt": 1,
            }
            await tx.execute(insert(marks).values(values))
    await Tidying(store, known).tidy()
    async with store.read() as tx:
        left = (await tx.execute(select(marks.c.step).order_by(marks.c.step))).scalars().all()
    assert left == [1, 4]


async def test_sessions_go_a_month_after_their_end(store: Store) -> None:
    user_id = await signing.add_user(store, "ops@example.com", "Ops", Role.ADMIN, None)
    await signing.open_session(store, user_id)
    async with store.write() as tx:
        values = {
            "id": "old",
            "user_id": user_id,
            "created_at": datetime.now(UTC) - timedelta(days=40),
            "expires_at": datetime.now(UTC) - timedelta(days=39),
        }
        await tx.execute(insert(sessions).values(values))
    await Tidying(store, Reps((), b"")).tidy()
    async with store.read() as tx:
        assert (await tx.execute(select(func.count()).select_from(sessions))).scalar_one() == 1
