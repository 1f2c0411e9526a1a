"""What goes into an enrollment's workflow and what comes out of it: input, messages, progress.

Everything here is kept in the history: ids and codes only, no bodies, names or addresses.
Fields are only ever added, with a default; none is renamed.
"""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from drumbeat.campaign.calendar import Plan
from drumbeat.campaign.model import Frozen, OnReply, Priority
from drumbeat.campaign.record import Entry
from drumbeat.campaign.states import HoldKind, Outcome, State, Why

WORKFLOW_TYPE = "CampaignWorkflow"


class CampaignInput(Frozen):
    """What an enrollment's workflow is started with."""

    enrollment_id: str
    campaign: str
    """The slug."""
    rep_id: str
    rep_zone: ZoneInfo | None = None
    plan: Plan
    on_reply: OnReply = OnReply.END
    remove_on_bounce: bool = True
    carried: str | None = None
    """The whole state as JSON, where a long run goes on as a new one."""


class CampaignResult(Frozen):
    """How the enrollment ended."""

    outcome: Outcome
    steps: int
    """How many steps were over."""


class Message(Frozen):
    """The least that every message says."""

    enrollment_id: str | None = None
    """Whom it is meant for; None: the current run."""
    who: str | None = None
    """The opaque id of the user who acts."""


# Signals


class CompleteTask(Message):
    """A rep has done a task; also an update of the same meaning."""

    task_id: str
    outcome: str | None = None
    """Of a call: one of the campaign's outcomes."""
    note_id: str | None = None
    note: str | None = None
    """Accepted in a plain signal; it stays in the workflow's history."""


class Replied(Message):
    """The person answered."""

    reply_id: str | None = None


class Bounced(Message):
    """A delivery report came back."""

    step: int | None = None
    hard: bool = True


class Unsubscribed(Message):
    """The person wants no more email, from whatever campaign."""

    step: int | None = None
    """The email whose link was used, as far as that is known."""
    reason_id: str | None = None


class Hold(Message):
    """Nothing opens or leaves until this is released, or until its moment."""

    hold_id: str
    kind: HoldKind = HoldKind.PERSON
    until: datetime | None = None
    reason_id: str | None = None


class Release(Message):
    """A hold is lifted."""

    hold_id: str


class End(Message):
    """The person is removed from the campaign."""

    success: bool = False
    reason_id: str | None = None


class LateAnswer(Message):
    """The mail server's 250 came after the attempt had been given up: it was sent."""

    step: int
    at: datetime


# Updates


class SkipTask(Message):
    """A task is left out."""

    task_id: str
    reason_id: str | None = None


class SnoozeTask(Message):
    """A task's due date moves; the calendar does not."""

    task_id: str
    due: date


class EditTask(Message):
    """What is not None changes."""

    task_id: str
    rep_id: str | None = None
    rep_zone: ZoneInfo | None = None
    """The new rep's; goes with `rep_id`."""
    subject_id: str | None = None
    due: date | None = None
    priority: Priority | None = None
    notes_id: str | None = None
    draft_id: str | None = None


class Unschedule(Message):
    """A scheduled rep's email is a plain open task again."""

    task_id: str


class SendTaskEmail(Message):
    """The rep's email goes out, now or at a moment."""

    task_id: str
    draft_id: str | None = None
    """None: the template as it is rendered at sending."""
    at: datetime | None = None
    """UTC; None: now."""


class EditEmail(Message):
    """An automatic email leaves with a rep's text."""

    step: int
    draft_id: str


class MoveEmail(Message):
    """An automatic email leaves at another moment."""

    step: int
    at: datetime


class SkipStep(Message):
    """A step that is not over is left out."""

    step: int
    reason_id: str | None = None


class RetryStep(Message):
    """A failed or blocked step is tried again."""

    step: int | None = None
    """None: the current one."""


class Mended(Message):
    """The person's data changed: what is blocked looks again."""


class ResolveDoubt(Message):
    """A person or the mailbox says what became of an email in doubt."""

    step: int | None = None
    sent: bool
    at: datetime | None = None
    """When it was sent, UTC; None: when it was handed over."""


# The query


class Progress(Frozen):
    """Where the enrollment stands."""

    enrollment_id: str
    state: State
    outcome: Outcome | None
    step: int | None
    why: Why | None
    why_text: str | None
    next_at: str | None
    """Local to the enrollment's zone, ISO 8601 with its offset."""
    next_at_utc: datetime | None
    happened: tuple[Entry, ...]
