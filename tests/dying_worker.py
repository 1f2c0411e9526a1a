"""The worker as a process, that kills itself at the point of the send path that it is told.

`python -m tests.dying_worker POINT` changes one function and runs `worker.main`. The points at
which the mail server is spoken to are not here: there the server of the test kills the worker.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from temporalio.bridge.worker import Worker as BridgeWorker

import worker
from activities.emails import Emails
from drumbeat.campaign.states import MessageState
from drumbeat.mail.sending import SmtpMailer
from drumbeat.store import ledger
from tests.deaths import Death


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def change(owner: object, name: str, function: Callable[..., Any]) -> None:
    """Put another function in a method's place: that is what this process is for."""
    setattr(owner, name, function)


def before(owner: object, name: str) -> None:
    """Die where a method is called."""
    change(owner, name, lambda *_, **__: die())


def after(owner: object, name: str, is_meant: Callable[..., bool] = lambda *_: True) -> None:
    """Die when a method has done its work; inside whatever it was called in."""
    original = getattr(owner, name)

    async def mortal(*given: Any, **named: Any) -> Any:  # whatever the method takes and gives
        result = await original(*given, **named)
        if is_meant(*given):
            die()
        return result

    change(owner, name, mortal)


def around_mark(*, is_set: bool) -> None:
    """Die right before the mark is set, or when it is set and its transaction is over."""
    original = SmtpMailer.deliver

    async def deliver(
        mailer: SmtpMailer,
        mailbox: Any,
        envelope: Any,
        content: bytes,
        handing_over: Callable[[], Awaitable[bool]],
    ) -> Any:
        async def mortal() -> NoReturn:
            if is_set:
                await handing_over()
            die()

        return await original(mailer, mailbox, envelope, content, mortal)

    change(SmtpMailer, "deliver", deliver)


def when_heard() -> None:
    """Die when Temporal has taken the activity's result and the workflow is about to go on."""
    sent = False
    send_email, complete = Emails._send, BridgeWorker.complete_workflow_activation

    async def sending(emails: Emails, send: Any) -> Any:
        nonlocal sent
        outcome = await send_email(emails, send)
        sent = True
        return outcome

    async def completing(bridge: Any, completion: Any) -> None:
        if sent:
            die()
        await complete(bridge, completion)

    change(Emails, "_send", sending)
    change(BridgeWorker, "complete_workflow_activation", completing)


def is_sent(_: object, __: object, ___: object, state: MessageState) -> bool:
    """Whether `ledger.change` was called for an email that was sent."""
    return state is MessageState.SENT


def prepare(point: Death) -> None:
    """Change the one function."""
    match point:
        case Death.BEFORE_INTENT:
            before(Emails, "_intend")
        case Death.IN_INTENT:
            after(Emails, "_intend")
        case Death.AFTER_INTENT:
            before(SmtpMailer, "deliver")
        case Death.BEFORE_MARK:
            around_mark(is_set=False)
        case Death.IN_MARK:
            after(ledger, "hand_over")
        case Death.AFTER_MARK:
            around_mark(is_set=True)
        case Death.AFTER_250:
            after(SmtpMailer, "deliver")
        case Death.IN_RECORD:
            after(ledger, "change", is_sent)
        case Death.AFTER_RECORD:
            after(Emails, "_send")
        case Death.BEFORE_HEARD:
            before(BridgeWorker, "complete_activity_task")
        case Death.WHEN_HEARD:
            when_heard()
        case _:
            raise ValueError(f"the mail server kills at this point: {point}")


if __name__ == "__main__":
    prepare(Death(sys.argv[1]))
    os._exit(worker.main())
