"""One enrollment's state: where it stands, and how walking and sending change it.

Pure: it knows no Temporal and no clock; the workflow replays it and tests drive it directly.
"""

from datetime import date, datetime
from typing import assert_never
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from activities import outcomes
from drumbeat.campaign import calendar
from drumbeat.campaign.calendar import Due, Over, Plan, PlannedStep, Standing
from drumbeat.campaign.model import OnReply
from drumbeat.campaign.record import Entry, Record, Shown, What
from drumbeat.campaign.states import HoldKind, Outcome, State, Why, WhyCode
from workflows import messages

MOST_REFUSALS = 200
"""Wrong messages that are remembered one by one; a flood of them must not swell the state."""

_CLOSING = frozenset(
    {
        What.SENT,
        What.SENT_ELSEWHERE,
        What.TASK_COMPLETED,
        What.TASK_SKIPPED,
        What.STEP_SKIPPED,
        What.NOT_SENT,
        What.RESOLVED,
    }
)


class Refused(Exception):
    """A message that cannot be carried out; the text says why, in codes and ids only."""


class Task(BaseModel):
    """The open task of the current step."""

    rep_id: str
    rep_zone: ZoneInfo | None = None
    due: date
    send_at: datetime | None = None
    send_now: bool = False
    trouble: Why | None = None

    @property
    def wants_sending(self) -> bool:
        """Whether the rep has asked for its email to leave, now or at a moment."""
        return self.send_now or self.send_at is not None


class SetHold(BaseModel):
    """A hold that is set."""

    kind: HoldKind
    until: datetime | None = None


class Enrollment(BaseModel):
    """Where an enrollment stands. Serialisable, so that a long run can go on as a new one."""

    id: str
    plan: Plan
    rep_id: str
    rep_zone: ZoneInfo | None = None
    on_reply: OnReply = OnReply.END
    remove_on_bounce: bool = True

    standing: Standing
    step: int = 0
    """The step that is walked; 0: none was reached yet."""
    due_at: datetime | None = None
    due_on: date | None = None
    phase: State = State.SLEEPING
    why: Why | None = None
    late_at: datetime | None = None
    """When the email that is just being sent was taken, heard before its attempt's own answer."""
    task: Task | None = None
    outcome: Outcome | None = None

    over: dict[int, str] = {}
    """Step -> how it came to be over."""
    skips: dict[int, str | None] = {}
    """Steps that are to be left out -> the id of the reason."""
    drafts: dict[int, str] = {}
    holds: dict[str, SetHold] = {}
    released: list[str] = []
    bounced: bool = False
    soft_bounces: list[int] = []

    seq: int = 0
    happened: list[Entry] = []
    unrecorded: list[int] = []
    """Numbers of the entries that the tables do not know."""
    refusals: int = 0
    changes: int = 0
    """Grows with every change that may wake a wait."""

    @classmethod
    def begin(cls, start: messages.CampaignInput) -> "Enrollment":
        """A new enrollment at kickoff, or the one that a long run carried over."""
        if start.carried is not None:
            return cls.model_validate_json(start.carried)
        return cls(
            id=start.enrollment_id,
            plan=start.plan,
            rep_id=start.rep_id,
            rep_zone=start.rep_zone,
            on_reply=start.on_reply,
            remove_on_bounce=start.remove_on_bounce,
            standing=calendar.begin(start.plan),
        )

    # Walking

    @property
    def current(self) -> PlannedStep:
        """The step that is walked."""
        return self.plan.step(self.step)

    @property
    def steps_to_walk(self) -> tuple[PlannedStep, ...]:
        """The steps after the last that was reached."""
        return self.plan.steps[self.step :]

    @property
    def result(self) -> Outcome:
        """How it ended; asked only once it has."""
        if self.outcome is None:
            raise ValueError("the enrollment has not ended")
        return self.outcome

    @property
    def is_over(self) -> bool:
        """Whether the current step, or everything, is over."""
        return self.outcome is not None or self.step in self.over

    @property
    def due(self) -> Due:
        """When the current step runs."""
        if self.due_at is None or self.due_on is None:
            raise ValueError("no step is due")
        return Due(self.due_at, self.due_on)

    @property
    def has_place(self) -> bool:
        """Whether the email that is due has taken its place within the mailbox's limits."""
        return self.why is not None and self.why.code is WhyCode.LIMITS

    def reach(self, step: PlannedStep, now: datetime) -> None:
        """Everything before a step is over: find its time, or pass over it."""
        self.step = step.number
        self.task = None
        self.set_due(self.due_of(step, now))
        self.be(State.SLEEPING, Why(code=WhyCode.TIME, until=self.due_at))
        if step.number in self.skips:
            self.skip_current(now, None, self.skips[step.number], WhyCode.SKIPPED)
        elif step.kind == "email" and self.bounced:
            self.skip_current(now, None, None, WhyCode.BOUNCED)

    def due_of(self, step: PlannedStep, now: datetime) -> Due:
        """When a step is due that is reached now, or at a kickoff that is still to come (R7)."""
        return calendar.due(self.plan, self.standing, step, max(now, self.plan.kickoff))

    def look_again(self, now: datetime) -> None:
        """What stood in the way is gone: the step falls under R9 from now on."""
        clock = calendar.slot(self.plan, self.standing, self.current).clock
        self.set_due(calendar.later(self.plan, self.current, clock, self.due, now))
        self.be(State.SLEEPING, Why(code=WhyCode.TIME, until=self.due_at))

    def is_held(self, now: datetime) -> bool:
        """Whether any hold stands; those whose moment has come are dropped."""
        for hold_id, hold in list(self.holds.items()):
            if hold.until is not None and hold.until <= now:
                self.drop_hold(hold_id, now)
        return bool(self.holds)

    def drop_hold(self, hold_id: str, now: datetime, who: str | None = None) -> None:
        """Remember that a hold is released; with the last one gone, a step falls under R9."""
        self.released.append(hold_id)
        hold = self.holds.pop(hold_id, None)
        if hold is None:
            return
        self.note(now, What.RELEASED, who=who, hold=hold_id, kind=hold.kind)
        is_waiting = self.due_at is not None and not self.is_over
        if not self.holds and is_waiting and self.phase is State.SLEEPING:
            self.look_again(now)

    @property
    def held_until(self) -> datetime | None:
        """When the next hold ends by itself, UTC; None where none has an end."""
        untils = [hold.until for hold in self.holds.values()]
        known = [until for until in untils if until is not None]
        return min(known) if known else None

    @property
    def is_stuck(self) -> bool:
        """Whether the current step waits for somebody to mend or decide something."""
        return self.phase in (State.BLOCKED, State.FAILED, State.IN_DOUBT)

    def how_over(self, step: int) -> str:
        """How a step came to be over, by whom and when, as far as that is remembered."""
        how = self.over.get(step) or f"the enrollment ended: {self.outcome}"
        for entry in reversed(self.happened):
            if entry.step == step and entry.what in _CLOSING:
                by = f" by {entry.who}" if entry.who else ""
                return f"{entry.what}{by} at {entry.at:%Y-%m-%d %H:%M} UTC"
        return how

    def who_asked(self, step: int) -> str:
        """By whom and when a rep's email was asked to leave last, as far as that is remembered."""
        for entry in reversed(self.happened):
            if entry.step == step and entry.what in (What.SEND_ASKED, What.TASK_SCHEDULED):
                return f", asked for by {entry.who} at {entry.at:%Y-%m-%d %H:%M} UTC"
        return ""

    # What the tables are told

    def shown(self) -> Shown:
        """Where the enrollment stands: the first state of those that hold."""
        if self.outcome is not None:
            return Shown(state=State.ENDED, outcome=self.outcome, step=self.step or None)
        if self.holds:
            first = next(iter(self.holds.values()))
            untils = [hold.until for hold in self.holds.values() if hold.until is not None]
            # All of them have to end; one without an end waits for a person.
            until = max(untils) if len(untils) == len(self.holds) else None
            why = Why(code=WhyCode.HOLD, until=until, detail=first.kind)
            return Shown(state=State.HELD, step=self.step, why=why, next_at=self.held_until)
        next_at = None
        if self.phase is State.SLEEPING:
            next_at = self.due_at
        elif self.task is not None:
            next_at = self.task.send_at
        return Shown(state=self.phase, step=self.step, why=self.why, next_at=next_at)

    def record(self) -> Record:
        """Everything that the tables do not know yet."""
        waiting = set(self.unrecorded)
        return Record(
            enrollment_id=self.id,
            seq=self.seq,
            shown=self.shown(),
            standing=self.standing,
            entries=tuple(entry for entry in self.happened if entry.seq in waiting),
        )

    def recorded(self, record: Record) -> None:
        """The tables know what that record said."""
        known = {entry.seq for entry in record.entries}
        self.unrecorded = [seq for seq in self.unrecorded if seq not in known]

    def reserve(self) -> int:
        """A number for what an activity is going to record itself."""
        self.seq += 1
        return self.seq

    # What activities answer

    def sent(self, outcome: outcomes.SendOutcome, seq: int, now: datetime, *, by_rep: bool) -> None:
        """What came of sending the current step's email; `seq` is the number reserved for it."""
        if self.task is not None:
            self.task.send_now, self.task.send_at = False, None
        match outcome:
            case outcomes.Sent(at=at):
                self.remember(Entry(seq=seq, at=at, what=What.SENT, step=self.step))
                self.finish_step(at, "sent_by_rep" if by_rep else "sent")
            case outcomes.WaitUntil(at=at, on=on, why=why):
                self.set_due(Due(at, on))
                if self.task is not None:
                    self.task.send_at = at
                self.be(State.TASK if by_rep else State.SLEEPING, why)
            case outcomes.Blocked(why=why) if by_rep and self.task is not None:
                self.remember(self.entry(seq, now, What.BLOCKED, why))
                self.task.trouble = why
                self.be(State.TASK, why)
            case outcomes.Blocked(why=why):
                self.remember(self.entry(seq, now, What.BLOCKED, why))
                self.be(State.BLOCKED, why)
            case outcomes.Failed(why=why):
                self.remember(self.entry(seq, now, What.FAILED, why))
                self.be(State.FAILED, why)
            case outcomes.InDoubt():
                why = Why(code=WhyCode.IN_DOUBT)
                self.remember(self.entry(seq, now, What.IN_DOUBT, why))
                self.be(State.IN_DOUBT, why)
                if self.late_at is not None:
                    self.taken(self.late_at, now)
            case outcomes.Held():
                self.be(State.TASK if by_rep else State.SLEEPING, self.why)
                if self.task is not None:
                    self.task.send_now = True
                self.found_held(outcome, now)
            case outcomes.HardBounce():
                why = Why(code=WhyCode.BOUNCED)
                self.remember(self.entry(seq, now, What.NOT_SENT, why))
                self.bounce_hard(now)
            case outcomes.SoftBounce():
                why = Why(code=WhyCode.SOFT_BOUNCE)
                self.remember(self.entry(seq, now, What.NOT_SENT, why))
                self.bounce_softly(self.step, now)
                if self.outcome is None and not self.is_over:
                    self.finish_step(now, "skipped")
            case outcomes.NotSent(why=why, outcome=how):
                self.remember(self.entry(seq, now, What.NOT_SENT, why))
                self.finish(how, now)
            case _:
                assert_never(outcome)
        self.late_at = None
        # A message may have asked for this while the email was on its way.
        if not self.is_over and self.step in self.skips:
            self.skip_current(now, None, self.skips[self.step], WhyCode.SKIPPED)

    def found_held(self, held: outcomes.Held, now: datetime) -> None:
        """The tables know of a hold that no message has brought yet."""
        if held.hold_id not in self.released and held.hold_id not in self.holds:
            self.holds[held.hold_id] = SetHold(kind=held.hold_kind, until=held.until)
            self.note(now, What.HELD, hold=held.hold_id, kind=held.hold_kind)

    def begin_opening(self) -> None:
        """The current step's task is being put into the queue: who sees it there may act at once.

        The tables show it before the workflow is told that they do.
        """
        self.task = Task(rep_id=self.rep_id, rep_zone=self.rep_zone, due=self.due.on)

    def opening(self, outcome: outcomes.OpenOutcome, seq: int, now: datetime) -> None:
        """What came of opening the current step's task; `seq` is the number reserved for it."""
        match outcome:
            case outcomes.Opened():
                self.opened(seq, now)
            case outcomes.Held():
                self.task = None
                self.found_held(outcome, now)
            case outcomes.NotSent(why=why, outcome=how):
                self.remember(self.entry(seq, now, What.NOT_SENT, why))
                self.finish(how, now)
            case _:
                assert_never(outcome)

    def opened(self, seq: int, now: datetime) -> None:
        """The current step's task lies in the rep's queue."""
        if self.task is None:
            self.begin_opening()
        self.remember(Entry(seq=seq, at=now, what=What.TASK_OPENED, step=self.step))
        until = self.task.send_at if self.task is not None else None
        self.be(State.TASK, Why(code=WhyCode.TASK, until=until))

    def finish(self, outcome: Outcome, now: datetime, who: str | None = None) -> None:
        """End the enrollment; the first end wins."""
        if self.outcome is None:
            self.outcome = outcome
            self.note(now, What.ENDED, who=who, outcome=outcome)

    def refuse(self, name: str, reason: str, now: datetime) -> None:
        """Remember a message that could not be carried out."""
        self.refusals += 1
        if self.refusals <= MOST_REFUSALS:
            self.note(now, What.REFUSED, message=name[:60], reason=reason[:200])

    # How things change

    def taken(self, at: datetime, now: datetime) -> None:
        """The mail server had taken the current email after all, at a moment (UTC)."""
        self.note(now, What.SENT, step=self.step, at=at.isoformat())
        self.finish_step(at, "sent_by_rep" if self.task is not None else "sent")

    def go_on(self, now: datetime) -> None:
        """What stood in the way of the current email is gone: it is to leave."""
        if self.task is not None:
            self.task.send_now = True
            self.be(State.TASK, Why(code=WhyCode.TASK))
        else:
            self.look_again(now)

    def skip_current(
        self, now: datetime, who: str | None, reason_id: str | None, code: WhyCode
    ) -> None:
        """Leave the current step out."""
        what = What.STEP_SKIPPED if self.task is None else What.TASK_SKIPPED
        self.note(now, what, step=self.step, who=who, code=code, text=reason_id)
        self.finish_step(now, "skipped")

    def finish_step(self, at: datetime, how: Over) -> None:
        """The current step is over since `at` (UTC): the calendar is told (R6, R9)."""
        was = self.due if self.due_at is not None else None
        zone = self.task.rep_zone if self.task is not None else None
        if how == "skipped" and self.task is None and was is not None and at < was.at:
            was = None  # Skipped before its time: it has taken no date and slips nothing.
        self.standing = calendar.after(
            self.plan, self.standing, self.current, at, how, was=was, rep_zone=zone
        )
        self.over[self.step] = how
        self.task = None
        self.changes += 1

    def bounce_hard(self, now: datetime) -> None:
        """The address is dead: end, or leave every further email out."""
        if self.remove_on_bounce:
            self.finish(Outcome.BOUNCED, now)
            return
        self.bounced = True
        is_leaving = self.phase is State.SENDING
        if self.step and not self.is_over and not is_leaving and self.current.kind == "email":
            self.skip_current(now, None, None, WhyCode.BOUNCED)

    def bounce_softly(self, step: int, now: datetime) -> None:
        """A step's email could not be taken; three running count as a hard bounce."""
        if step not in self.soft_bounces:
            self.soft_bounces.append(step)
        running = 0
        emails_so_far = [s.number for s in self.plan.steps[: self.step] if s.kind == "email"]
        for number in reversed(emails_so_far):
            if number in self.soft_bounces:
                running += 1
            elif self.over.get(number, "").startswith("sent"):
                break
        if running >= 3:
            self.bounce_hard(now)

    def set_due(self, due: Due) -> None:
        """When the current step runs."""
        self.due_at, self.due_on = due.at, due.on

    def be(self, phase: State, why: Why | None) -> None:
        """Change what the current step is at, and why it waits."""
        self.phase, self.why = phase, why
        self.changes += 1

    def note(
        self,
        now: datetime,
        what: What,
        *,
        step: int | None = None,
        who: str | None = None,
        **detail: str | None,
    ) -> None:
        """Remember something that the tables have to be told; details of None are left out."""
        filled = {name: str(value) for name, value in detail.items() if value is not None}
        entry = Entry(seq=self.reserve(), at=now, what=what, step=step, who=who, detail=filled)
        self.unrecorded.append(entry.seq)
        self.remember(entry)

    def remember(self, entry: Entry) -> None:
        """Remember what happened; the tables know of it already."""
        self.happened.append(entry)
        self.changes += 1

    def entry(self, seq: int, now: datetime, what: What, why: Why) -> Entry:
        """What an activity has recorded itself, under the number reserved for it."""
        detail = {"code": str(why.code), "detail": why.detail}
        return Entry(seq=seq, at=now, what=what, step=self.step, detail=detail)


def task_id(enrollment_id: str, step: int) -> str:
    """The id of the task of a step: one for each step and enrollment."""
    return f"{enrollment_id}-{step}"


def iso(at: datetime | None) -> str | None:
    """The moment as it stands in an entry's detail."""
    return None if at is None else at.isoformat()
