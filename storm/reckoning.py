"""The sum at a storm's end: what was to be sent, against what the mail server has taken."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import select

from bench.report import percentile
from drumbeat.campaign.states import MessageState, Outcome
from drumbeat.store.engine import Store
from drumbeat.store.schema import enrollments, marks, messages, people, reps
from storm.inbox import Inbox
from storm.plan import Blow
from storm.robot import Doubt
from storm.scenery import EMAIL_STEPS, LIMIT, REPS, SPAN

EXPLAINS = timedelta(seconds=10)
"""A death explains the doubt about an email whose mark was set at most that long before."""
DIES_WITHIN = timedelta(seconds=2)
"""A mail server that is told to stop still takes commands for a moment: the mark may come later."""
ENDS_CONVERSATIONS = frozenset(
    {Blow.WORKER_KILLED, Blow.WORKERS_KILLED, Blow.MAIL_KILLED, Blow.MAIL_STOPPED}
)
"""After these, and no others, nobody may know whether an email was accepted."""


@dataclass(slots=True)
class Sum:
    """What the storm has come to. Every list names what must not be."""

    expected: int = 0
    accepted: int = 0
    cancelled: int = 0
    """Not sent, with a reason: the person had left."""
    in_doubt: int = 0
    """Left in doubt at the end."""
    doubts: int = 0
    """Emails that were in doubt once, and about which the robot has said what became of them."""
    doubts_sent: int = 0
    """Of these, those that the mail server had taken."""
    blows: Counter[Blow] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    """Seconds from the death of all workers to the next email handed over."""
    seconds: float = 0.0
    """From the first blow on until all was settled."""
    duplicates: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)
    """Where the tables say other than the mail server."""
    after_leaving: list[str] = field(default_factory=list)
    without_cause: list[str] = field(default_factory=list)
    """Doubts though nobody had died."""
    over_limit: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    """Between tables and workflows."""
    troubles: list[str] = field(default_factory=list)
    """Processes that died alone, or did not stop."""

    @property
    def faults(self) -> Mapping[str, Sequence[str]]:
        """What must be empty, by its name."""
        return {
            "duplicates": self.duplicates,
            "lost": self.lost,
            "tables and mail server disagree": self.untrue,
            "written to after they had left": self.after_leaving,
            "in doubt though nobody had died": self.without_cause,
            "over the mailbox's limit": self.over_limit,
            "not settled": self.unsettled,
            "tables and workflows disagree": self.differences,
            "processes that died alone": self.troubles,
        }

    @property
    def holds(self) -> bool:
        """Whether every email is accounted for, once."""
        counted = self.accepted + self.in_doubt + self.cancelled
        return counted == self.expected and not any(self.faults.values())

    def table(self) -> str:
        """As the documents show it."""
        rows = [
            ("emails expected", str(self.expected)),
            ("accepted by the mail server", str(self.accepted)),
            ("cancelled with a reason", str(self.cancelled)),
            ("in doubt at the end", str(self.in_doubt)),
            (
                "in doubt meanwhile, resolved by the robot",
                f"{self.doubts} ({self.doubts_sent} had been accepted)",
            ),
            *((str(blow), str(self.blows[blow])) for blow in Blow),
            ("death of all workers to the next send", self._recovery()),
            *((name, str(len(found))) for name, found in self.faults.items()),
            ("seconds until all was settled", f"{self.seconds:.0f}"),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"| {name:<{width}} | {value} |" for name, value in rows)

    def _recovery(self) -> str:
        if not self.recoveries:
            return "not measured"
        median, worst = percentile(self.recoveries, 50), max(self.recoveries)
        return f"median {median:.1f} s, at most {worst:.1f} s"


@dataclass(frozen=True, slots=True)
class Death:
    """A blow that was carried out."""

    at: datetime
    """UTC."""
    blow: Blow


async def reckon(
    store: Store,
    inbox: Inbox,
    *,
    expected_people: int,
    doubts: Sequence[Doubt],
    left_at: Mapping[str, datetime],
    deaths: Sequence[Death],
) -> Sum:
    """Look at every email of everybody."""
    total = Sum(expected=expected_people * len(EMAIL_STEPS))
    inbox.look()
    left = await _count_emails(store, inbox, total, expected_people)
    await _look_at_marks(store, inbox, total, left_at, deaths)
    total.blows.update(death.blow for death in deaths)
    total.doubts = len(doubts)
    total.doubts_sent = sum(doubt.was_sent for doubt in doubts)
    fatal = [death.at for death in deaths if death.blow in ENDS_CONVERSATIONS]
    for doubt in [*doubts, *left]:
        mark = doubt.handed_over_at
        if not any(mark - DIES_WITHIN <= at <= mark + EXPLAINS for at in fatal):
            total.without_cause.append(f"{doubt.enrollment} step {doubt.step}, {mark:%H:%M:%S}")
    return total


async def _count_emails(
    store: Store, inbox: Inbox, total: Sum, expected_people: int
) -> Sequence[Doubt]:
    """Count them; what is still in doubt."""
    left: list[Doubt] = []
    async with store.read() as tx:
        of_people = select(enrollments, people.c.email).join(
            people, people.c.id == enrollments.c.person_id
        )
        rows = (await tx.execute(of_people)).all()
        emails = {
            (row.enrollment_id, row.step): row for row in (await tx.execute(select(messages))).all()
        }
    missing = expected_people - len(rows)
    total.lost += [f"enrollment {number + 1} of {missing} missing" for number in range(missing)]
    known = {row.message_id for row in emails.values()}
    total.untrue += [f"unknown {one}" for one in inbox.copies if one not in known]
    for row in rows:
        for step in EMAIL_STEPS:
            email = emails.get((row.id, step))
            copies = inbox.copies[email.message_id] if email is not None else 0
            state = MessageState(email.state) if email is not None else None
            what = f"{row.id} step {step}: {state}, {copies} accepted, enrollment {row.state}"
            if copies > 1:
                total.duplicates.append(what)
            if email is not None and state is MessageState.IN_DOUBT:
                total.in_doubt += 1
                left.append(Doubt(row.id, step, email.handing_over_at, copies > 0))
            elif copies:
                total.accepted += 1
                if state is not MessageState.SENT:
                    total.untrue.append(what)
            elif state is MessageState.SENT:
                total.lost.append(what)
            elif _is_cancelled(row.outcome, state, None if email is None else email.why):
                total.cancelled += 1
            else:
                total.lost.append(what)
        if inbox.arrived[row.email] > len(EMAIL_STEPS):
            total.duplicates.append(f"{row.id} got {inbox.arrived[row.email]} emails")
    return left


def _is_cancelled(outcome: str | None, state: MessageState | None, why: object) -> bool:
    """Whether a reason stands beside an email that did not leave."""
    if outcome is None or outcome == Outcome.COMPLETED:
        return False
    return state is None or (state is MessageState.CANCELLED and why is not None)


async def _look_at_marks(
    store: Store,
    inbox: Inbox,
    total: Sum,
    left_at: Mapping[str, datetime],
    deaths: Sequence[Death],
) -> None:
    wanted = (
        select(marks, messages.c.message_id)
        .join(
            messages,
            (messages.c.enrollment_id == marks.c.enrollment_id) & (messages.c.step == marks.c.step),
        )
        .where(marks.c.handed_over)
        .order_by(marks.c.at)
    )
    async with store.read() as tx:
        rows = (await tx.execute(wanted)).all()
    last_mark = {row.message_id: row.at for row in rows}
    for one in inbox.accepted:
        left = left_at.get(one.to)
        mark = last_mark.get(one.message_id)
        if left is not None and mark is not None and mark > left:
            total.after_leaving.append(f"{one.message_id}, {mark - left} later")
    by_mailbox: dict[str, list[datetime]] = {}
    for row in rows:
        by_mailbox.setdefault(row.mailbox, []).append(row.at)
    limited = await _limited_mailbox(store)
    moments = by_mailbox.get(limited, [])
    for first, after in zip(moments, moments[LIMIT:], strict=False):
        if after - first < timedelta(seconds=SPAN):
            total.over_limit.append(f"more than {LIMIT} in the {SPAN} s from {first:%H:%M:%S}")
    for death in deaths:
        if death.blow is Blow.WORKERS_KILLED:
            later = [row.at for row in rows if row.at > death.at]
            if later:
                total.recoveries.append((later[0] - death.at).total_seconds())


async def _limited_mailbox(store: Store) -> str:
    async with store.read() as tx:
        found = await tx.execute(select(reps.c.id).where(reps.c.email == REPS[1]))
        return str(found.scalar_one())
