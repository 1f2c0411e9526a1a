import asyncio

import pytest

from drumbeat.mail.outcomes import Accepted, HardBounce, InDoubt, Phase, Superseded, TryLater
from drumbeat.mail.sending import Envelope, Mailer
from drumbeat.reps import Mailbox, Server, Tls
from tests.mail.memory import MemoryMailer

MAILBOX = Mailbox("grace@example.com", Server("127.0.0.1", 2525, Tls.NONE))
ENVELOPE = Envelope("grace@example.com", ("ada@example.org",))


async def yes() -> bool:
    return True


async def no() -> bool:
    return False


async def test_the_memory_mailer_behaves_as_told_and_then_accepts() -> None:
    mailer = MemoryMailer()
    as_mailer: Mailer = mailer
    mailer.once(Phase.RCPT, 550, "5.1.1 No such user")
    mailer.once(Phase.CONNECT)
    mailer.once(Phase.DATA)
    outcomes = [await as_mailer.deliver(MAILBOX, ENVELOPE, b"hello", yes) for _ in range(4)]
    assert [type(outcome) for outcome in outcomes] == [HardBounce, TryLater, InDoubt, Accepted]
    assert isinstance(await as_mailer.deliver(MAILBOX, ENVELOPE, b"hello", no), Superseded)
    assert [email.content for email in mailer.received] == [b"hello"]
    assert mailer.attempts == 5


async def test_the_memory_mailer_stalls_until_cancelled() -> None:
    mailer = MemoryMailer()
    mailer.stall_once()
    attempt = asyncio.create_task(mailer.deliver(MAILBOX, ENVELOPE, b"hello", yes))
    await mailer.stalled.wait()
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert mailer.received == []
