"""A `Mailer` for tests: keeps what it is given; refuses, drops or stalls where told to."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from drumbeat.mail.outcomes import Accepted, Delivery, Phase, Superseded, classify, words
from drumbeat.mail.sending import Envelope, Proof
from drumbeat.reps import Mailbox
from tests.mail.servers import Act, Received


class MemoryMailer:
    """Accepts every email, but for what `once` says."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.attempts = 0
        self.stalled = asyncio.Event()
        """Set when an attempt has stalled; it stays so until it is cancelled."""
        self._once: deque[tuple[Phase, int | None, str] | Act] = deque()

    def once(self, phase: Phase, code: int | None = None, text: str = "") -> None:
        """Answer so in that phase of the next attempt; without a code, the connection is cut."""
        self._once.append((phase, code, text))

    def stall_once(self) -> None:
        """Never answer the next attempt, after its handing over."""
        self._once.append(Act.STALL)

    async def deliver(
        self,
        mailbox: Mailbox,
        envelope: Envelope,
        content: bytes,
        handing_over: Callable[[], Awaitable[bool]],
    ) -> Delivery:
        """See `drumbeat.mail.sending.Mailer`."""
        self.attempts += 1
        doing = self._once.popleft() if self._once else None
        if isinstance(doing, tuple) and doing[0] is not Phase.DATA:
            return classify(words(doing[0], doing[2], doing[1]))
        if not await handing_over():
            return Superseded(words(Phase.RCPT, "stopped before DATA"))
        if doing is Act.STALL:
            self.stalled.set()
            await asyncio.Event().wait()
        if isinstance(doing, tuple):
            return classify(words(doing[0], doing[2], doing[1]))
        self.received.append(
            Received(envelope.sender, envelope.recipients, content, mailbox.smtp.user)
        )
        return Accepted(words(Phase.DATA, f"2.0.0 Ok: queued as {len(self.received)}", 250))

    async def prove(self, mailbox: Mailbox) -> Proof:
        """See `drumbeat.mail.sending.Mailer`."""
        return Proof(ok=True, text=f"{mailbox.smtp.host}:{mailbox.smtp.port}: in memory")

    async def close(self) -> None:
        """See `drumbeat.mail.sending.Mailer`."""
