"""Send one email: check, render, record, hand over, record the answer.

Its states and every point at which a process may die are in SPEC section 4: what is written before
the mail server is spoken to decides what a later attempt may do.
"""

import asyncio
import hashlib
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities import letters, places
from activities.guarding import guard, of_suppression
from activities.letters import Case, Letter, Letters
from activities.outcomes import (
    Blocked,
    Failed,
    HardBounce,
    Held,
    InDoubt,
    NotSent,
    SendEmail,
    SendOutcome,
    SendResult,
    Sent,
    SoftBounce,
    WaitUntil,
)
from drumbeat.campaign import calendar
from drumbeat.campaign.calendar import Due
from drumbeat.campaign.record import Entry, Shown, What
from drumbeat.campaign.states import HoldKind, MessageState, Outcome, State, Why, WhyCode
from drumbeat.mail import composing, outcomes
from drumbeat.mail.sending import Envelope, Mailer
from drumbeat.store import holds, ledger, mailboxes, outbox, recording
from drumbeat.store.engine import Store
from drumbeat.store.errors import StoreError

HEARTBEAT_EVERY = timedelta(seconds=5)
TROUBLES_THAT_HOLD = 3
BOUNCES_THAT_HOLD = 10
GIVE_UP_AFTER = timedelta(hours=24)
"""Of time in which the email may leave; at least `LEAST_TRIES` are made whatever it takes."""
LEAST_TRIES = 5
PAUSES = [timedelta(minutes=m) for m in (1, 2, 5, 10, 20, 40, 60)]
"""After the first failure, the second, …; the last one again and again."""
RECORDING_PAUSES = (0.5, 1, 2, 4, 8)
"""Seconds for which the server's answer waits for a database that does not take it."""


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
            case = await self._look(send)
            letter = await self._letters.build(case)
            async with self._store.write() as tx:
                attempt = await self._intend(tx, send, case, letter)
            if attempt is None:
                continue  # Data, draft or template rendering changed meanwhile: build it anew.
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

    async def _known_already(
        self, tx: AsyncConnection, send: SendEmail, case: Case, now: datetime
    ) -> SendOutcome | None:
        """What an earlier attempt has left, where that decides the matter."""
        message = case.message
        match MessageState(message.state):
            case MessageState.SENT:
                await self._record_sent(tx, send, case, message.sent_at)
                return Sent(at=message.sent_at)
            case MessageState.FAILED:
                return Failed(why=Why.model_validate(message.why))
            case MessageState.IN_DOUBT:
                return InDoubt()
            case MessageState.CANCELLED:
                return _cancelled(Why.model_validate(message.why))
            case MessageState.SENDING if message.handing_over_at is not None:
                # The attempt that set the mark has died, or cannot say: nobody knows.
                return await self._record_doubt(tx, send, case, now)
            case MessageState.SCHEDULED | MessageState.BLOCKED | MessageState.SENDING:
                return None
            case other:
                assert_never(other)

    async def _intend(
        self,
        tx: AsyncConnection,
        send: SendEmail,
        case: Case,
        letter: Letter | Why,
    ) -> Attempt | SendOutcome | None:
        """Look once more whether it may leave, take its place, store the bytes: "sending"."""
        # Locked in the same order by everybody: enrollment, email, mailbox.
        await recording.apply(tx, send.record, await self._store.now(tx))
        now = await self._store.now(tx)
        fresh = await self._letters.read(
            tx, case.enrollment.id, send.step, send.draft_id, now, blobs=case.blobs
        )
        row = fresh.enrollment
        if row.seq > send.seq:
            # The workflow has gone on since: nobody waits for this attempt any more.
            return places.ask_again(now, send, fresh)
        known = await self._known_already(tx, send, fresh, now)
        if known is not None:
            return known
        against = await guard(tx, row, fresh.person.email, send.released, now)
        if against is not None:
            await ledger.give_back(tx, fresh.message)
            return await self._stopped(tx, send, fresh, against, now)
        if fresh.changed_since(case):
            return None
        if isinstance(letter, Why):
            await ledger.give_back(tx, fresh.message)
            return await self._blocked(tx, send, fresh, letter, now)
        waits = await places.waits(tx, send, fresh, now)
        if waits is not None:
            return await self._postpone(tx, send, fresh, waits, now)
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

    async def _postpone(
        self,
        tx: AsyncConnection,
        send: SendEmail,
        case: Case,
        waits: WaitUntil,
        now: datetime,
        **values: Any,  # of the email's columns
    ) -> WaitUntil:
        values |= {"why": waits.why, "due_at": waits.at}
        await ledger.change(tx, case.message, now, MessageState.SCHEDULED, **values)
        await self._stand(tx, send, case, now, _state(send), waits.why, waits.at)
        return waits

    # The mail server

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
            is_current = message.attempt == attempt.number and message.state == MessageState.SENDING
            if isinstance(delivery, outcomes.Accepted):
                if message.state == MessageState.SENT:
                    # Somebody has said so already, or it was sent once more at a person's word.
                    return Sent(at=message.sent_at)
                return await self._accepted(
                    tx, send, attempt, delivery, now, is_late=not is_current
                )
            if is_current:
                return await self._not_accepted(tx, send, attempt, delivery, now)
            known = None
            if message.state != MessageState.SENDING:
                known = await self._known_already(tx, send, replace(case, message=message), now)
            # Else another attempt is under way, and will say what came of it.
            return known or places.ask_again(now, send, case)

    async def _accepted(
        self,
        tx: AsyncConnection,
        send: SendEmail,
        attempt: Attempt,
        delivery: outcomes.Accepted,
        now: datetime,
        *,
        is_late: bool,
    ) -> Sent:
        """The server's 250 always wins, also over an attempt that came later."""
        case = attempt.case
        await ledger.change(
            tx,
            case.message,
            now,
            MessageState.SENT,
            sent_at=now,
            answer=str(delivery.words),
        )
        await mailboxes.delivered(tx, case.message.mailbox)
        if is_late:
            payload = {"step": send.step, "at": now.isoformat()}
            key = f"late_answer/{case.enrollment.id}/{send.step}"
            await outbox.put(
                tx, case.enrollment.id, kind="late_answer", key=key, payload=payload, now=now
            )
            return Sent(at=now)
        await self._record_sent(tx, send, case, now)
        return Sent(at=now)

    async def _not_accepted(
        self,
        tx: AsyncConnection,
        send: SendEmail,
        attempt: Attempt,
        delivery: outcomes.Delivery,
        now: datetime,
    ) -> SendOutcome:
        """What the server's refusal, or silence, means for this email and for its mailbox."""
        case = attempt.case
        words = str(delivery.words)
        await self._count_trouble(tx, case, delivery, now)
        match delivery:
            case outcomes.InDoubt():
                return await self._record_doubt(tx, send, case, now, words)
            case outcomes.Superseded():
                await ledger.give_back(tx, case.message)
                return await self._postpone(tx, send, case, places.ask_again(now, send, case), now)
            case outcomes.HardBounce():
                why = Why(code=WhyCode.BOUNCED)
                return await self._not_sent(tx, send, case, why, HardBounce(), now, words)
            case outcomes.SoftBounce():
                why = Why(code=WhyCode.SOFT_BOUNCE)
                return await self._not_sent(tx, send, case, why, SoftBounce(), now, words)
            case outcomes.Failed():
                why = Why(code=WhyCode.REFUSED, detail=str(delivery.words.code or ""))
                return await self._fail(tx, send, case, why, now, words)
            case outcomes.AuthenticationRefused():
                await self._hold_mailbox(tx, case, words, now)
                why = Why(code=WhyCode.MAILBOX, detail="authentication")
                return await self._wait_for_mailbox(tx, send, case, why, now, words)
            case outcomes.MailboxTrouble():
                why = Why(code=WhyCode.MAILBOX, detail=str(delivery.words.code or ""))
                if await holds.of_target(tx, HoldKind.MAILBOX, case.message.mailbox, now):
                    return await self._wait_for_mailbox(tx, send, case, why, now, words)
                if case.message.tries + 1 >= LEAST_TRIES:
                    # Not three recipients running: it is this one that the server does not want.
                    why = Why(code=WhyCode.REFUSED, detail=why.detail)
                    return await self._fail(tx, send, case, why, now, words)
                return await self._try_again(tx, send, case, why, now, words, counts=False)
            case outcomes.TryLater():
                why = Why(code=WhyCode.RETRY, detail=str(delivery.words.code or ""))
                return await self._try_again(tx, send, case, why, now, words, counts=True)
            case outcomes.Accepted():
                raise AssertionError("an accepted email is handled before")
            case _:
                assert_never(delivery)

    async def _count_trouble(
        self, tx: AsyncConnection, case: Case, delivery: outcomes.Delivery, now: datetime
    ) -> None:
        """Trouble of a recipient is told from trouble of the mailbox by who else has it."""
        mailbox, words = case.message.mailbox, str(delivery.words)
        if isinstance(delivery, outcomes.HardBounce):
            if await mailboxes.bounced(tx, mailbox) >= BOUNCES_THAT_HOLD:
                await self._hold_mailbox(tx, case, words, now)
        elif delivery.trouble and (
            await mailboxes.troubled(tx, mailbox, case.person.id, words) >= TROUBLES_THAT_HOLD
        ):
            await self._hold_mailbox(tx, case, words, now)

    async def _hold_mailbox(
        self, tx: AsyncConnection, case: Case, words: str, now: datetime
    ) -> None:
        """Nothing leaves from it until somebody has looked and released it; all wait."""
        mailbox = case.message.mailbox
        if await holds.of_target(tx, HoldKind.MAILBOX, mailbox, now):
            return
        hold_id = f"h{secrets.token_hex(8)}"
        await holds.insert(
            tx,
            hold_id=hold_id,
            kind=HoldKind.MAILBOX,
            target=mailbox,
            until=None,
            reason=words,
            who=None,
            now=now,
        )
        await outbox.put_for_running(
            tx,
            holds.held_by(HoldKind.MAILBOX, mailbox),
            kind="hold",
            key=f"hold/{hold_id}",
            payload={"hold_id": hold_id, "kind": HoldKind.MAILBOX},
            now=now,
        )

    async def _try_again(
        self,
        tx: AsyncConnection,
        send: SendEmail,
        case: Case,
        why: Why,
        now: datetime,
        words: str,
        *,
        counts: bool,
    ) -> SendOutcome:
        """Wait with a growing pause, up to 24 hours of time in which it may leave."""
        tries = case.message.tries + 1
        pause = PAUSES[min(tries, len(PAUSES)) - 1]
        tried_for = timedelta(seconds=case.message.tried_for)
        if counts:
            tried_for += calendar.open_time(case.plan, now, now + pause)
            if tries >= LEAST_TRIES and tried_for > GIVE_UP_AFTER:
                gave_up = Why(code=WhyCode.GAVE_UP, detail=why.detail)
                return await self._fail(tx, send, case, gave_up, now, words)
        tried = {"tries": tries, "tried_for": int(tried_for.total_seconds())}
        return await self._wait(tx, send, case, why, now, pause, answer=words, **tried)

    async def _wait_for_mailbox(
        self,
        tx: AsyncConnection,
        send: SendEmail,
        case: Case,
        why: Why,
        now: datetime,
        words: str,
    ) -> SendOutcome:
        """The mailbox is held: the next look finds the hold. Its trouble is not this email's."""
        return await self._wait(tx, send, case, why, now, PAUSES[0], answer=words)

    async def _wait(
        self,
        tx: AsyncConnection,
        send: SendEmail,
        case: Case,
        why: Why,
        now: datetime,
        pause: timedelta,
        **values: Any,  # of the email's columns
    ) -> WaitUntil:
        due = places.later(now + pause, send, case)
        waits = WaitUntil(at=due.at, on=due.on, why=why.model_copy(update={"until": due.at}))
        await ledger.give_back(tx, case.message)
        return await self._postpone(tx, send, case, waits, now, **values)

    # What is recorded

    async def _stopped(
        self,
        tx: AsyncConnection,
        send: SendEmail,
        case: Case,
        against: Held | NotSent,
        now: datetime,
    ) -> SendOutcome:
        """Something stands against it: a hold keeps it waiting, an end cancels it."""
        if isinstance(against, NotSent):
            return await self._not_sent(tx, send, case, against.why, against, now)
        why = Why(code=WhyCode.HOLD, until=against.until, detail=against.hold_kind)
        await ledger.change(tx, case.message, now, MessageState.SCHEDULED, why=why)
        return against

    async def _blocked(
        self, tx: AsyncConnection, send: SendEmail, case: Case, why: Why, now: datetime
    ) -> Blocked:
        await ledger.change(tx, case.message, now, MessageState.BLOCKED, why=why)
        await self._happened(tx, send, case, What.BLOCKED, why, now)
        state = State.TASK if send.by_rep else State.BLOCKED
        await self._stand(tx, send, case, now, state, why, None)
        if send.by_rep:
            await letters.show_trouble(tx, case, why)
        return Blocked(why=why)

    async def _fail(
        self,
        tx: AsyncConnection,
        send: SendEmail,
        case: Case,
        why: Why,
        now: datetime,
        words: str,
    ) -> Failed:
        await ledger.give_back(tx, case.message)
        await ledger.change(tx, case.message, now, MessageState.FAILED, why=why, answer=words)
        await self._happened(tx, send, case, What.FAILED, why, now)
        await self._stand(tx, send, case, now, State.FAILED, why, None)
        if send.by_rep:
            await letters.show_trouble(tx, case, why)
        return Failed(why=why)

    async def _record_doubt(
        self,
        tx: AsyncConnection,
        send: SendEmail,
        case: Case,
        now: datetime,
        words: str | None = None,
    ) -> InDoubt:
        why = Why(code=WhyCode.IN_DOUBT)
        await ledger.change(tx, case.message, now, MessageState.IN_DOUBT, why=why, answer=words)
        await self._happened(tx, send, case, What.IN_DOUBT, why, now)
        await self._stand(tx, send, case, now, State.IN_DOUBT, why, None)
        return InDoubt()

    async def _not_sent(
        self,
        tx: AsyncConnection,
        send: SendEmail,
        case: Case,
        why: Why,
        outcome: SendOutcome,
        now: datetime,
        words: str | None = None,
    ) -> SendOutcome:
        await ledger.give_back(tx, case.message)
        await ledger.change(tx, case.message, now, MessageState.CANCELLED, why=why, answer=words)
        await self._happened(tx, send, case, What.NOT_SENT, why, now)
        return outcome

    async def _happened(
        self,
        tx: AsyncConnection,
        send: SendEmail,
        case: Case,
        what: What,
        why: Why,
        now: datetime,
    ) -> None:
        detail = {"code": str(why.code), "detail": why.detail}
        entry = Entry(seq=send.seq, at=now, what=what, step=send.step, detail=detail)
        await recording.add_event(tx, case.enrollment, entry, now)

    async def _record_sent(
        self, tx: AsyncConnection, send: SendEmail, case: Case, now: datetime
    ) -> None:
        """Write where the enrollment stands with this step over, as the workflow will find it."""
        entry = Entry(seq=send.seq, at=now, what=What.SENT, step=send.step)
        await recording.add_event(tx, case.enrollment, entry, now)
        how: calendar.Over = "sent_by_rep" if send.by_rep else "sent"
        was = Due(send.due_at, send.due_on)
        zone = await letters.task_zone(tx, case) if send.by_rep else None
        standing = calendar.after(
            case.plan, send.record.standing, case.planned, now, how, was=was, rep_zone=zone
        )
        if send.step == len(case.plan.steps):
            return  # The workflow records the end.
        following = case.plan.step(send.step + 1)
        due = calendar.due(case.plan, standing, following, now)
        why = Why(code=WhyCode.TIME, until=due.at)
        shown = Shown(state=State.SLEEPING, step=following.number, why=why, next_at=due.at)
        await recording.stand(tx, case.enrollment, send.seq, shown, standing.model_dump_json(), now)

    async def _stand(
        self,
        tx: AsyncConnection,
        send: SendEmail,
        case: Case,
        now: datetime,
        state: State,
        why: Why,
        next_at: datetime | None,
    ) -> None:
        shown = Shown(state=state, step=send.step, why=why, next_at=next_at)
        standing = send.record.standing.model_dump_json()
        await recording.stand(tx, case.enrollment, send.seq, shown, standing, now)


def _state(send: SendEmail) -> State:
    return State.TASK if send.by_rep else State.SLEEPING


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


async def _beat() -> None:
    """Show every few seconds that this worker is alive.

    Not at once: the server writes each beat down, and most emails have left before the first.
    """
    while True:
        await asyncio.sleep(HEARTBEAT_EVERY.total_seconds())
        activity.heartbeat()
