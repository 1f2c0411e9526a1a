"""What goes into an enrollment's workflow and what comes out of it: input, messages, progress.

Everything here is kept in the history: ids and codes only, no bodies, names or addresses.
Fields are only ever added, with a default; none is renamed.
"""

from datetime import UTC, date, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, StringConstraints

from drumbeat.campaign.calendar import Plan
from drumbeat.campaign.model import Frozen, OnReply, Priority
from drumbeat.campaign.record import Entry
from drumbeat.campaign.states import HoldKind, Outcome, State, Why

WORKFLOW_TYPE = "CampaignWorkflow"


def _moment(at: datetime) -> datetime:
    """A moment that every zone can show: what cannot be shown would stop the workflow for good."""
    if not 1970 <= at.year < 9000:
        raise ValueError("a moment between the years 1970 and 9000 is wanted")
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


Moment = Annotated[datetime, AfterValidator(_moment)]
"""A moment in a message; without an offset it is UTC."""

# PostgreSQL keeps no NUL, and an index no long key: what the tables do not take, they would be told
# again and again.
Word = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")]
Text = Annotated[str, StringConstraints(max_length=20_000, pattern=r"^[^\x00]*$")]


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

    enrollment_id: Word | None = None
    """Whom it is meant for; None: the current run."""
    who: Word | None = None
    """The opaque id of the user who acts."""


# Signals


class CompleteTask(Message):
    """A rep has done a task; also an update of the same meaning."""

    task_id: Word
    outcome: Word | None = None
    """Of a call: one of the campaign's outcomes."""
    note_id: Word | None = None
    note: Text | None = None
    """Accepted in a plain signal; it stays in the workflow's history."""


class Replied(Message):
    """The person answered."""

    reply_id: Word | None = None


class Bounced(Message):
    """A delivery report came back."""

    step: int | None = None
    hard: bool = True


class Unsubscribed(Message):
    """The person wants no more email, from whatever campaign."""

    step: int | None = None
    """The email whose link was used, as far as that is known."""
    reason_id: Word | None = None


class Hold(Message):
    """Nothing opens or leaves until this is released, or until its moment."""

    hold_id: Word
    kind: HoldKind = HoldKind.PERSON
    until: Moment | None = None
    reason_id: Word | None = None


class Release(Message):
    """A hold is lifted."""

    hold_id: Word


class End(Message):
    """The person is removed from the campaign."""

    success: bool = False
    reason_id: Word | None = None


class LateAnswer(Message):
    """The mail server's 250 came after the attempt had been given up: it was sent."""

    step: int
    at: Moment


# Updates


class SkipTask(Message):
    """A task is left out."""

    task_id: Word
    reason_id: Word | None = None


class SnoozeTask(Message):
    """A task's due date moves; the calendar does not."""

    task_id: Word
    due: date


class EditTask(Message):
    """What is not None changes."""

    task_id: Word
    rep_id: Word | None = None
    rep_zone: ZoneInfo | None = None
    """The new rep's; goes with `rep_id`."""
    subject_id: Word | None = None
    due: date | None = None
    priority: Priority | None = None
    notes_id: Word | None = None
    draft_id: Word | None = None


class Unschedule(Message):
    """A scheduled rep's email is a plain open task again."""

    task_id: Word


class SendTaskEmail(Message):
    """The rep's email goes out, now or at a moment."""

    task_id: Word
    draft_id: Word | None = None
    """None: the template as it is rendered at sending."""
    at: Moment | None = None
    """UTC; None: now."""


class EditEmail(Message):
    """An automatic email leaves with a rep's text."""

    step: int
    draft_id: Word


class MoveEmail(Message):
    """An automatic email leaves at another moment."""

    step: int
    at: Moment


class SkipStep(Message):
    """A step that is not over is left out."""

    step: int
    reason_id: Word | None = None


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
    at: Moment | None = None
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
