"""A process of its own that sends emails, and kills itself at the point that it is told.

Started by `test_crashes.py`; what it is to do comes as JSON on its standard input.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, NoReturn

from temporalio.testing import ActivityEnvironment

from activities.emails import Emails
from activities.outcomes import SendEmail
from drumbeat.mail.outcomes import Delivery
from drumbeat.mail.rendering import Renderer
from drumbeat.mail.sending import Envelope, SmtpMailer
from drumbeat.reps import Mailbox, Server, Tls
from drumbeat.store import ledger
from drumbeat.store.engine import open_store
from tests.activities.world import Clock, World
from tests.deaths import Death


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


class Mortal(SmtpMailer):
    """Ends its process before or after the mark, or after the server's last word."""

    def __init__(self, point: Death | None) -> None:
        super().__init__()
        self.point = point

    async def deliver(
        self,
        mailbox: Mailbox,
        envelope: Envelope,
        content: bytes,
        handing_over: Callable[[], Awaitable[bool]],
    ) -> Delivery:
        async def mortal() -> bool:
            if self.point is Death.BEFORE_MARK:
                die()
            is_set = await handing_over()
            if self.point is Death.AFTER_MARK:
                die()
            return is_set

        if self.point is Death.AFTER_INTENT:
            die()
        delivery = await super().deliver(mailbox, envelope, content, mortal)
        if self.point is Death.AFTER_250:
            die()
        return delivery


async def main() -> None:
    told: dict[str, Any] = json.load(sys.stdin)
    point = Death(told["point"]) if told["point"] else None
    store = await open_store(told["url"], Clock(datetime.fromisoformat(told["now"])))
    async with Renderer() as renderer:
        world = World(store, Clock(datetime.fromisoformat(told["now"])), renderer)
        smtp = Server("127.0.0.1", told["port"], Tls.NONE)
        await world.staff(Mailbox("grace@example.com", smtp, batch=None, daily=None))
        emails = Emails(store, world.letters, Mortal(point))
        if point is Death.BEFORE_INTENT:
            emails._intend = lambda *_: die()  # type: ignore[method-assign]  # dies instead
        if point is Death.IN_MARK:
            ledger.give_back = lambda *_: die()  # inside the mark's transaction
        print("ready", flush=True)
        sends = [SendEmail.model_validate(send) for send in told["sends"]]
        await asyncio.gather(
            *(ActivityEnvironment().run(emails.send_email, send) for send in sends)
        )
        if point is Death.AFTER_RECORD:
            die()
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
