"""What became of one email, written into the tables: its row, the timeline, the enrollment."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from activities import letters, places
from activities.letters import Case
from activities.outcomes import (
    Blocked,
    Failed,
    Held,
    InDoubt,
    NotSent,
    SendEmail,
    SendOutcome,
    Sent,
    WaitUntil,
)
from drumbeat.campaign import calendar
from drumbeat.campaign.calendar import Due
from drumbeat.campaign.record import Entry, Shown, What
from drumbeat.campaign.states import HoldKind, MessageState, State, Why, WhyCode
from drumbeat.mail import outcomes
from drumbeat.store import holds, ledger, mailboxes, outbox, recording

TROUBLES_THAT_HOLD = 3
BOUNCES_THAT_HOLD = 10
GIVE_UP_AFTER = timedelta(hours=24)
"""Of time in which the email may leave; at least `LEAST_TRIES` are made whatever it takes."""
LEAST_TRIES = 5
PAUSES = [timedelta(minutes=m) for m in (1, 2, 5, 10, 20, 40, 60)]
"""After the first failure, the second, …; the last one again and again."""


@dataclass(frozen=True, slots=True)
class Telling:
    """One email in one write transaction; its row is locked."""

    tx: AsyncConnection
    send: SendEmail
    case: Case
    now: datetime

    async def sent(self, at: datetime) -> Sent:
        """The step is over: where the enrollment stands is written as the workflow finds it."""
        case, send = self.case, self.send
        entry = Entry(seq=send.seq, at=at, what=What.SENT, step=send.step)
        await recording.add_event(self.tx, case.enrollment, entry, self.now)
        if send.step == len(case.plan.steps):
            return Sent(at=at)  # The workflow records the end.
        how: calendar.Over = "sent_by_rep" if send.by_rep else "sent"
        was = Due(send.due_at, send.due_on)
        zone = await letters.task_zone(self.tx, case) if send.by_rep else None
        standing = calendar.after(
            case.plan, send.record.standing, case.planned, at, how, was=was, rep_zone=zone
        )
        following = case.plan.step(send.step + 1)
        due = calendar.due(case.plan, standing, following, at)
        why = Why(code=WhyCode.TIME, until=due.at)
        shown = Shown(state=State.SLEEPING, step=following.number, why=why, next_at=due.at)
        text = standing.model_dump_json()
        await recording.stand(self.tx, case.enrollment, send.seq, shown, text, self.now)
        return Sent(at=at)

    async def postponed(self, waits: WaitUntil, **values: Any) -> WaitUntil:
        """It waits, and says why and until when; `values` are other columns of its row."""
        await self._change(MessageState.SCHEDULED, waits.why, due_at=waits.at, **values)
        state = State.TASK if self.send.by_rep else State.SLEEPING
        await self._stand(state, waits.why, waits.at)
        return waits

    async def stopped(self, against: Held | NotSent) -> SendOutcome:
        """Something stands against it: a hold keeps it waiting, an end cancels it."""
        if isinstance(against, NotSent):
            return await self.cancelled(against.why, against)
        await ledger.give_back(self.tx, self.case.message)
        why = Why(code=WhyCode.HOLD, until=against.until, detail=against.hold_kind)
        await self._change(MessageState.SCHEDULED, why)
        return against

    async def blocked(self, why: Why) -> Blocked:
        """Something in it has to be mended first."""
        await ledger.give_back(self.tx, self.case.message)
        await self._change(MessageState.BLOCKED, why)
        await self._happened(What.BLOCKED, why)
        await self._stand(State.TASK if self.send.by_rep else State.BLOCKED, why, None)
        if self.send.by_rep:
            await letters.show_trouble(self.tx, self.case, why)
        return Blocked(why=why)

    async def failed(self, why: Why, words: str) -> Failed:
        """The mail server refused it for good, or for too long."""
        await ledger.give_back(self.tx, self.case.message)
        await self._change(MessageState.FAILED, why, answer=words)
        await self._happened(What.FAILED, why)
        await self._stand(State.FAILED, why, None)
        if self.send.by_rep:
            await letters.show_trouble(self.tx, self.case, why)
        return Failed(why=why)

    async def in_doubt(self, words: str | None = None) -> InDoubt:
        """It may or may not have been taken."""
        why = Why(code=WhyCode.IN_DOUBT)
        await self._change(MessageState.IN_DOUBT, why, answer=words)
        await self._happened(What.IN_DOUBT, why)
        await self._stand(State.IN_DOUBT, why, None)
        return InDoubt()

    async def cancelled(
        self, why: Why, outcome: SendOutcome, words: str | None = None
    ) -> SendOutcome:
        """It will not leave."""
        await ledger.give_back(self.tx, self.case.message)
        await self._change(MessageState.CANCELLED, why, answer=words)
        await self._happened(What.NOT_SENT, why)
        return outcome

    # What the mail server's trouble means

    async def try_again(self, why: Why, words: str, *, counts: bool) -> SendOutcome:
        """Wait with a growing pause.

        Args:
            why: What goes with the wait.
            words: The server's.
            counts: Whether it fails after 24 hours of time in which it may leave.
        """
        message = self.case.message
        tries = message.tries + 1
        pause = PAUSES[min(tries, len(PAUSES)) - 1]
        tried_for = timedelta(seconds=message.tried_for)
        if counts:
            tried_for += calendar.open_time(self.case.plan, self.now, self.now + pause)
            if tries >= LEAST_TRIES and tried_for > GIVE_UP_AFTER:
                return await self.failed(Why(code=WhyCode.GAVE_UP, detail=why.detail), words)
        tried = {"tries": tries, "tried_for": int(tried_for.total_seconds())}
        return await self._wait(why, pause, answer=words, **tried)

    async def mailbox_trouble(self, why: Why, words: str) -> SendOutcome:
        """The server refuses the sender, or this one recipient: who else has it says which."""
        mailbox = self.case.message.mailbox
        if await holds.of_target(self.tx, HoldKind.MAILBOX, mailbox, self.now):
            # The next look finds the hold. Its trouble is not this email's: no try is counted.
            return await self._wait(why, PAUSES[0], answer=words)
        if self.case.message.tries + 1 >= LEAST_TRIES:
            return await self.failed(Why(code=WhyCode.REFUSED, detail=why.detail), words)
        return await self.try_again(why, words, counts=False)

    async def count_trouble(self, delivery: outcomes.Delivery) -> None:
        """Hold the mailbox where too many people running have had trouble, or have bounced."""
        mailbox, words = self.case.message.mailbox, str(delivery.words)
        if isinstance(delivery, outcomes.HardBounce):
            if await mailboxes.bounced(self.tx, mailbox) >= BOUNCES_THAT_HOLD:
                await self.hold_mailbox(words)
        elif delivery.trouble:
            person = self.case.person.id
            if await mailboxes.troubled(self.tx, mailbox, person, words) >= TROUBLES_THAT_HOLD:
                await self.hold_mailbox(words)

    async def hold_mailbox(self, words: str) -> None:
        """Nothing leaves from it until somebody has looked and released it; all wait."""
        mailbox = self.case.message.mailbox
        await ledger.lock_mailbox(self.tx, mailbox)
        if await holds.of_target(self.tx, HoldKind.MAILBOX, mailbox, self.now):
            return
        hold_id = f"h{secrets.token_hex(8)}"
        await holds.insert(
            self.tx,
            hold_id=hold_id,
            kind=HoldKind.MAILBOX,
            target=mailbox,
            until=None,
            reason=words,
            who=None,
            now=self.now,
        )
        await outbox.put_for_running(
            self.tx,
            holds.held_by(HoldKind.MAILBOX, mailbox),
            kind="hold",
            key=f"hold/{hold_id}",
            payload={"hold_id": hold_id, "kind": HoldKind.MAILBOX},
            now=self.now,
        )

    async def _wait(self, why: Why, pause: timedelta, **values: Any) -> WaitUntil:
        due = places.later(self.now + pause, self.send, self.case)
        await ledger.give_back(self.tx, self.case.message)
        why = why.model_copy(update={"until": due.at})
        return await self.postponed(WaitUntil(at=due.at, on=due.on, why=why), **values)

    # The rows

    async def _change(self, state: MessageState, why: Why, **values: Any) -> None:
        await ledger.change(self.tx, self.case.message, self.now, state, why=why, **values)

    async def _happened(self, what: What, why: Why) -> None:
        detail = {"code": str(why.code), "detail": why.detail}
        send = self.send
        entry = Entry(seq=send.seq, at=self.now, what=what, step=send.step, detail=detail)
        await recording.add_event(self.tx, self.case.enrollment, entry, self.now)

    async def _stand(self, state: State, why: Why, next_at: datetime | None) -> None:
        send = self.send
        shown = Shown(state=state, step=send.step, why=why, next_at=next_at)
        standing = send.record.standing.model_dump_json()
        await recording.stand(self.tx, self.case.enrollment, send.seq, shown, standing, self.now)
