"""Send one email: check, render, record, hand over, record the answer.

Its states and every point at which a process may die are in SPEC section 4: what is written before
the mail server is spoken to decides what a later attempt may do.
"""

import asyncio
import hashlib
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import assert_never

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities import places
from activities.guarding import guard, of_suppression
from activities.letters import Case, Letter, Letters
from activities.outcomes import (
    AWAITED,
    Failed,
    HardBounce,
    InDoubt,
    NotSent,
    SendEmail,
    SendOutcome,
    SendResult,
    Sent,
    SoftBounce,
)
from activities.restoring import may_have_left
from activities.telling import Telling
from drumbeat.campaign.states import MessageState, Outcome, Why, WhyCode
from drumbeat.mail import composing, outcomes
from drumbeat.mail.sending import Envelope, Mailer
from drumbeat.store import ledger, mailboxes, outbox, recording
from drumbeat.store.engine import Store
from drumbeat.store.errors import StoreError

HEARTBEAT_EVERY = timedelta(seconds=5)
RECORDING_PAUSES = (0.5, 1, 2, 4, 8)
"""Seconds for which the server's answer waits for a database that does not take it."""

ASKING = 8
"""Emails that are built and ask for a place at once: a crowd of them would keep those that have
theirs from leaving in time."""

UNTIL_HEARD = timedelta(seconds=10)
"""After a doubt was recorded, its workflow has heard of it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that has recorded its intent: it may speak to the mail server."""

    number: int
    case: Case
    letter: Letter


class Emails:
    """Sends emails. Its parts come from the worker."""

    def __init__(self, store: Store, letters: Letters, mailer: Mailer) -> None:
        self._store = store
        self._letters = letters
        self._mailer = mailer
        self._asking = asyncio.Semaphore(ASKING)

    @activity.defn
    async def send_email(self, send: SendEmail) -> SendResult:
        """Send the email of a step unless something stands against it; says what came of it."""
        beating = asyncio.create_task(_beat())
        try:
            return SendResult(outcome=await self._send(send))
        finally:
            beating.cancel()

    async def _send(self, send: SendEmail) -> SendOutcome:
        while True:
            async with (
                nullcontext() if activity.info().priority.priority_key == AWAITED else self._asking
            ):
                case = await self._look(send)
                letter = await self._letters.build(case)
                async with self._store.write() as tx:
                    attempt = await self._intend(tx, send, case, letter)
            if attempt is None:
                continue  # Data, draft or an earlier email changed meanwhile: build it anew.
            if not isinstance(attempt, Attempt):
                return attempt
            return await self._hand_over(send, attempt)

    async def _look(self, send: SendEmail) -> Case:
        enrollment_id, step, draft_id = send.record.enrollment_id, send.step, send.draft_id
        async with self._store.read() as tx:
            now = await self._store.now(tx)
            case = await self._letters.look(tx, enrollment_id, step, draft_id, now)
        if case is not None:
            return case
        async with self._store.write() as tx:
            return await self._letters.read(tx, enrollment_id, step, draft_id, now)

    async def _intend(
        self, tx: AsyncConnection, send: SendEmail, case: Case, letter: Letter | Why
    ) -> Attempt | SendOutcome | None:
        """Look once more whether it may leave, take its place, store the bytes: "sending".

        None: the letter was built from what has changed meanwhile.
        """
        # Locked in the same order by everybody: enrollment, email, mailbox.
        await recording.apply(tx, send.record, await self._store.now(tx))
        now = await self._store.now(tx)
        fresh = await self._letters.read(
            tx, case.enrollment.id, send.step, send.draft_id, now, blobs=case.blobs
        )
        if fresh.enrollment.seq > send.seq:
            # The workflow has gone on since: nobody waits for this attempt any more.
            return places.ask_again(now, send, fresh)
        telling = Telling(tx, send, fresh, now)
        known = await _known_already(telling)
        if known is not None:
            return known
        against = await guard(tx, fresh.enrollment, fresh.person.email, send.released, now)
        if against is not None:
            if await may_have_left(tx, against, fresh.message):
                return await telling.in_doubt()
            return await telling.stopped(against)
        if fresh.changed_since(case):
            return None
        if isinstance(letter, Why):
            return await telling.blocked(letter)
        waits = await places.waits(tx, send, fresh, now)
        if waits is not None:
            return await telling.postponed(waits)
        number = fresh.message.attempt + 1
        await ledger.change(
            tx,
            fresh.message,
            now,
            MessageState.SENDING,
            attempt=number,
            handing_over_at=None,
            draft_id=send.draft_id,
            **letter.columns(),
        )
        return Attempt(number, fresh, letter)

    async def _hand_over(self, send: SendEmail, attempt: Attempt) -> SendOutcome:
        """Speak to the mail server, with the mark set directly before DATA."""
        case, letter = attempt.case, attempt.letter
        content = composing.complete(letter.composed.stored, case.blobs)
        if hashlib.sha256(content).hexdigest() != letter.composed.sha256:
            raise ValueError("the stored bytes are not those that were built")

        async def handing_over() -> bool:
            async with self._store.write() as tx:
                row = await ledger.enrollment(tx, case.enrollment.id)
                await ledger.message(tx, row.id, send.step)
                now = await self._store.now(tx)
                if row.seq > send.seq:
                    return False
                if await guard(tx, row, case.person.email, send.released, now) is not None:
                    return False
                if not await places.still_fits(tx, send, case, now):
                    return False
                return await ledger.hand_over(tx, case.message, attempt.number, now)

        envelope = Envelope(case.rep.email, letter.recipients)
        delivery = await self._mailer.deliver(case.rep.mailbox, envelope, content, handing_over)
        for pause in RECORDING_PAUSES:
            try:
                return await self._answered(send, attempt, delivery)
            except StoreError:
                # What the server said would be lost with this attempt, and a doubt be left.
                await asyncio.sleep(pause)
        return await self._answered(send, attempt, delivery)

    async def _answered(
        self, send: SendEmail, attempt: Attempt, delivery: outcomes.Delivery
    ) -> SendOutcome:
        """Record what the mail server said, unless another attempt has taken this one's place."""
        case = attempt.case
        async with self._store.write() as tx:
            await ledger.enrollment(tx, case.enrollment.id)
            message = await ledger.message(tx, case.enrollment.id, send.step)
            if message is None:
                raise LookupError(f"email {send.step} of enrollment {case.enrollment.id} is gone")
            now = await self._store.now(tx)
            telling = Telling(tx, send, replace(case, message=message), now)
            is_sending = message.state == MessageState.SENDING
            is_current = is_sending and message.attempt == attempt.number
            if isinstance(delivery, outcomes.Accepted):
                return await _accepted(telling, delivery, is_late=not is_current)
            if is_current:
                return await _not_accepted(telling, delivery)
            if message.state == MessageState.IN_DOUBT and message.attempt == attempt.number:
                await _doubt_is_over(telling, delivery)
            # Where another attempt is under way, that one will say what came of it.
            known = None if is_sending else await _known_already(telling)
            return known or places.ask_again(now, send, case)


async def _known_already(telling: Telling) -> SendOutcome | None:
    """What an earlier attempt has left, where that decides the matter."""
    message = telling.case.message
    match MessageState(message.state):
        case MessageState.SENT:
            return await telling.sent(message.sent_at)
        case MessageState.FAILED:
            return Failed(why=Why.model_validate(message.why))
        case MessageState.IN_DOUBT:
            return InDoubt()
        case MessageState.CANCELLED:
            return _cancelled(Why.model_validate(message.why))
        case MessageState.SENDING if message.handing_over_at is not None:
            # The attempt that set the mark has died, or cannot say: nobody knows.
            return await telling.in_doubt()
        case MessageState.SCHEDULED | MessageState.BLOCKED | MessageState.SENDING:
            return None
        case other:
            assert_never(other)


def _cancelled(why: Why) -> SendOutcome:
    """What a cancelled email's reason means to a workflow that has not heard of it."""
    match why.code:
        case WhyCode.BOUNCED:
            return HardBounce()
        case WhyCode.SOFT_BOUNCE:
            return SoftBounce()
        case WhyCode.SUPPRESSED:
            return NotSent(why=why, outcome=of_suppression(why.detail))
        case WhyCode.ENDED | WhyCode.REPLIED:
            return NotSent(why=why, outcome=Outcome(why.detail))
        case _:
            return NotSent(why=why, outcome=Outcome.REMOVED)


async def _accepted(telling: Telling, delivery: outcomes.Accepted, *, is_late: bool) -> Sent:
    """The server's 250 always wins, also over an attempt that came later."""
    tx, now, message = telling.tx, telling.now, telling.case.message
    if message.state == MessageState.SENT:
        # Somebody has said so already, or it was sent once more at a person's word.
        return Sent(at=message.sent_at)
    await ledger.change(
        tx, message, now, MessageState.SENT, sent_at=now, answer=str(delivery.words)
    )
    await mailboxes.delivered(tx, message.mailbox)
    if not is_late:
        return await telling.sent(now)
    payload = {"step": message.step, "at": now.isoformat()}
    key = f"late_answer/{message.enrollment_id}/{message.step}"
    await outbox.put(
        tx, message.enrollment_id, kind="late_answer", key=key, payload=payload, now=now
    )
    return Sent(at=now)


async def _doubt_is_over(telling: Telling, delivery: outcomes.Delivery) -> None:
    """A refusal that came late says what nobody knew: the workflow is told, and tries again."""
    if isinstance(delivery, outcomes.InDoubt | outcomes.Superseded):
        return
    message, now = telling.case.message, telling.now
    why = Why.model_validate(message.why) if message.why else None
    await ledger.change(
        telling.tx, message, now, MessageState.IN_DOUBT, why=why, answer=str(delivery.words)
    )
    await outbox.put(
        telling.tx,
        message.enrollment_id,
        kind="resolve_doubt",
        key=f"refused/{message.enrollment_id}/{message.step}/{message.attempt}",
        payload={"step": message.step, "sent": False, "attempt": message.attempt},
        now=now,
        not_before=now + UNTIL_HEARD,
    )


async def _not_accepted(telling: Telling, delivery: outcomes.Delivery) -> SendOutcome:
    """What the server's refusal, or silence, means for this email and for its mailbox."""
    words, code = str(delivery.words), str(delivery.words.code or "")
    await telling.count_trouble(delivery)
    match delivery:
        case outcomes.InDoubt():
            return await telling.in_doubt(words)
        case outcomes.Superseded():
            await ledger.give_back(telling.tx, telling.case.message)
            waits = places.ask_again(telling.now, telling.send, telling.case)
            return await telling.postponed(waits)
        case outcomes.HardBounce():
            return await telling.cancelled(Why(code=WhyCode.BOUNCED), HardBounce(), words)
        case outcomes.SoftBounce():
            return await telling.cancelled(Why(code=WhyCode.SOFT_BOUNCE), SoftBounce(), words)
        case outcomes.Failed():
            return await telling.failed(Why(code=WhyCode.REFUSED, detail=code), words)
        case outcomes.AuthenticationRefused():
            await telling.hold_mailbox(words)
            why = Why(code=WhyCode.MAILBOX, detail="authentication")
            return await telling.mailbox_trouble(why, words)
        case outcomes.MailboxTrouble():
            return await telling.mailbox_trouble(Why(code=WhyCode.MAILBOX, detail=code), words)
        case outcomes.TryLater():
            return await telling.try_again(Why(code=WhyCode.RETRY, detail=code), words, counts=True)
        case outcomes.Accepted():
            raise AssertionError("an accepted email is handled before")
        case _:
            assert_never(delivery)


async def _beat() -> None:
    """Show every few seconds that this worker is alive.

    Not at once: the server writes each beat down, and most emails have left before the first.
    """
    while True:
        await asyncio.sleep(HEARTBEAT_EVERY.total_seconds())
        activity.heartbeat()
